//! What tells entities apart.

use std::sync::Arc;

use fogflow_orchestration::EntityDetail;

/// Names an entity among those of a selector, whose tenant it shares: the same id on two service paths is two entities.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityKey {
    /// The entity id.
    pub id: Arc<str>,
    /// The service path; `None` is `/`, and a path that an upstream discovery does not tell.
    pub path: Option<Arc<str>>,
}

impl EntityKey {
    /// Of an id on a service path; an empty one is `/`.
    #[must_use]
    pub fn new(id: &str, path: &str) -> Self {
        EntityKey { id: id.into(), path: Some(path).filter(|path| !matches!(*path, "" | "/")).map(Arc::from) }
    }

    /// Of an entity.
    #[must_use]
    pub fn of(entity: &EntityDetail) -> Self {
        Self::new(&entity.id, &entity.service_path)
    }
}

/// On the service path `/`.
impl From<&str> for EntityKey {
    fn from(id: &str) -> Self {
        Self::new(id, "")
    }
}
