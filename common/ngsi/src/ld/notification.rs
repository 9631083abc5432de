//! Notifications (clause 5.3.1) and batch results (clause 5.2.16).

use smol_str::SmolStr;

use super::encode::{View, write_entity, write_feature_collection};
use super::problem::Problem;
use crate::writer::JsonWriter;
use crate::{Entity, Name, Timestamp};

/// The head of a notification.
#[derive(Clone, Debug)]
pub struct Notification<'a> {
    /// Its id, a URI.
    pub id: &'a str,
    /// The subscription that it answers, a URI.
    pub subscription_id: &'a str,
    /// When it is sent.
    pub notified_at: Timestamp,
    /// With `endpoint.accept: application/geo+json`, the attribute that places the features.
    pub geometry: Option<&'a Name>,
    /// Whether `@context` is in the body (`application/ld+json`); otherwise it goes into a `Link` header.
    pub context: bool,
}

impl Notification<'_> {
    /// Appends the notification of these entities.
    pub fn encode<'e>(&self, out: &mut Vec<u8>, entities: impl IntoIterator<Item = &'e Entity>, view: &View<'_>) {
        let mut w = JsonWriter::new(out);
        w.begin_object();
        w.string_member("id", self.id);
        w.string_member("type", "Notification");
        w.string_member("subscriptionId", self.subscription_id);
        w.plain_member("notifiedAt", self.notified_at);
        w.key("data");
        match self.geometry {
            Some(geometry) => write_feature_collection(&mut w, entities, view, geometry, false),
            None => {
                w.begin_array();
                for entity in entities {
                    write_entity(&mut w, entity, view, false);
                }
                w.end_array();
            }
        }
        if self.context {
            w.key("@context");
            w.value(&view.context.to_value());
        }
        w.end_object();
    }
}

/// What went wrong with one entity of a batch.
#[derive(Clone, Debug)]
pub struct BatchError {
    /// The entity, as far as its id could be read.
    pub entity_id: SmolStr,
    /// The problem.
    pub error: Problem,
}

/// Appends a `BatchOperationResult`.
pub fn encode_batch_result(out: &mut Vec<u8>, success: &[SmolStr], errors: &[BatchError]) {
    let mut w = JsonWriter::new(out);
    w.begin_object();
    w.key("success");
    w.begin_array();
    success.iter().for_each(|id| w.string(id));
    w.end_array();
    w.key("errors");
    w.begin_array();
    for error in errors {
        w.begin_object();
        w.string_member("entityId", &error.entity_id);
        w.key("error");
        w.value(&error.error);
        w.end_object();
    }
    w.end_array();
    w.end_object();
}
