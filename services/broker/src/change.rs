//! A change: what the matcher, the notifier and the registrar learn of a committed write.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use fogflow_ngsi::{Entity, EntityKey, Name};
use fogflow_store::Sequence;
use smallvec::SmallVec;
use smol_str::SmolStr;

/// Names of attributes; few entities have more than this many inline.
pub type Names = SmallVec<[Name; 4]>;

/// One committed write of one entity.
#[derive(Debug)]
pub struct Change {
    /// The entity.
    pub key: EntityKey,
    /// Its state before; `None` if it was created.
    pub before: Option<Arc<Entity>>,
    /// Its state after; `None` if it was deleted.
    pub after: Option<Arc<Entity>>,
    /// The attributes and domain metadata that the write named, whether or not their value differs.
    pub written: Names,
    /// `Fiware-Correlator` of the writer: subscribers with the same correlator are not told (loop prevention).
    pub correlator: SmolStr,
    /// `traceparent` of the writer (W3C Trace Context), handed on with the notification.
    pub trace: SmolStr,
    /// Place in the store's order of commits.
    pub sequence: Sequence,
    /// Whether nobody is told: the entity is given to another broker, not deleted.
    pub silent: bool,
    /// The v1 form of the whole element, encoded at most once whatever the number of subscribers.
    pub v1: OnceLock<Bytes>,
}

impl Change {
    /// The state to match subscriptions against: the new one, or the last one of a deleted entity.
    #[must_use]
    pub fn subject(&self) -> Option<&Arc<Entity>> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// A change that shows an entity as it stands, for the first notification of a subscription.
    #[must_use]
    pub fn snapshot(key: EntityKey, entity: Arc<Entity>, sequence: Sequence) -> Self {
        Change {
            key,
            before: None,
            written: entity.attributes.iter().map(|attribute| attribute.name.clone()).collect(),
            after: Some(entity),
            correlator: SmolStr::default(),
            trace: SmolStr::default(),
            sequence,
            silent: false,
            v1: OnceLock::new(),
        }
    }
}

/// Who asks for a write, as far as the state cares.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// `Fiware-Correlator`.
    pub correlator: SmolStr,
    /// `traceparent`.
    pub trace: SmolStr,
    /// Whether another broker asks (`User-Agent: lightweight-iot-broker`): the write is local, nobody else is asked, so
    /// that no request is handed on twice (F 9).
    pub internal: bool,
}
