//! A write in the making.

use std::sync::Arc;

use bytes::Bytes;
use fogflow_orchestration::{Envelope, MessageType, ServiceIntent};
use fogflow_store::{Expect, Key, Write};
use indexmap::IndexMap;

use crate::error::{ApiError, ApiResult};
use crate::records::{OutgoingMessage, Record};
use crate::registry::{Contents, Entry};

/// What an announced intent is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is new or was changed.
    Add,
    /// It is gone, or its fog function was disabled.
    Delete,
}

/// The contents with changes on top. Reading sees what was put before.
pub(crate) struct Draft {
    contents: Contents,
    writes: IndexMap<(&'static str, String), (Expect, Option<Bytes>)>,
    messages: Vec<Envelope>,
}

impl Draft {
    pub(super) fn new(contents: Contents) -> Self {
        Draft { contents, writes: IndexMap::new(), messages: Vec::new() }
    }

    /// The contents with what was put and removed so far.
    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The value of this id.
    ///
    /// # Errors
    /// 404 if there is none.
    pub(crate) fn get<R: Record>(&self, id: &str) -> ApiResult<Arc<R>> {
        R::shelf(&self.contents).get(id).cloned().ok_or_else(|| ApiError::missing(R::KIND, id))
    }

    /// Puts a value, new or in place of the old one.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(crate) fn put<R: Record>(&mut self, id: &str, value: R) -> ApiResult<()> {
        let bytes =
            serde_json::to_vec(&value).map_err(|error| ApiError::bad(format!("the {} {id:?} cannot be stored: {error}", R::KIND)))?;
        self.touch::<R>(id, Some(Bytes::from(bytes)));
        let entry = Entry { version: 0, sequence: 0, value: Arc::new(value) };
        R::shelf_mut(&mut self.contents).map_mut().insert(id.to_owned(), entry);
        Ok(())
    }

    /// Removes a value; without effect if there is none.
    pub(crate) fn remove<R: Record>(&mut self, id: &str) {
        if R::shelf(&self.contents).contains(id) {
            self.touch::<R>(id, None);
            R::shelf_mut(&mut self.contents).map_mut().remove(id);
        }
    }

    /// Adds the `ServiceIntent` message of this intent to the outbox.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(crate) fn announce(&mut self, intent: &ServiceIntent, action: Action) -> ApiResult<()> {
        let action = match action {
            Action::Add => "ADD",
            Action::Delete => "DELETE",
        };
        let payload = ServiceIntent { action: action.to_owned(), ..intent.clone() };
        let envelope = Envelope::new(MessageType::ServiceIntent, "orchestration.", "designer", &payload)
            .map_err(|error| ApiError::bad(format!("the intent {:?} cannot be announced: {error}", intent.id)))?;
        self.messages.push(envelope);
        Ok(())
    }

    /// Remembers the condition of the first touch: the document as the draft began with it.
    fn touch<R: Record>(&mut self, id: &str, value: Option<Bytes>) {
        let expect = R::shelf(&self.contents).entry(id).map_or(Expect::Absent, |entry| Expect::Version(entry.version));
        self.writes.entry((R::COLLECTION, id.to_owned())).and_modify(|(_, old)| *old = value.clone()).or_insert((expect, value));
    }

    /// The writes, messages last. A document that was made and removed in the same draft is left out.
    pub(super) fn into_writes(mut self) -> ApiResult<Vec<Write>> {
        for envelope in std::mem::take(&mut self.messages) {
            self.put(&uuid::Uuid::now_v7().to_string(), OutgoingMessage { envelope })?;
        }
        Ok(self
            .writes
            .into_iter()
            .filter(|(_, (expect, value))| !(*expect == Expect::Absent && value.is_none()))
            .map(|((collection, id), (expect, value))| Write {
                key: Key { collection: collection.into(), tenant: "".into(), id: id.into() },
                expect,
                value,
            })
            .collect())
    }
}
