//! NGSI-LD (ETSI GS CIM 009, version 1.8): entities, subscriptions, notifications, batch results and problem details.
//!
//! Decoders take a compiled [`Context`](crate::context::Context) and give expanded names; encoders take the context to
//! compact with. [`context_member`] gives the `@context` of a body before it is decoded.
//!
//! What NGSI-LD cannot express of an entity that was written through v1 or v2: the free type text of its attributes,
//! that a property came as domain metadata, and domain metadata that has the name of an attribute.

mod attribute;
mod encode;
mod entity;
mod notification;
mod problem;
pub mod subscription;
#[cfg(test)]
mod tests;

pub use encode::{Format, Hidden, View, write_attribute, write_entity, write_feature, write_feature_collection};
pub use entity::{Mode, NULL, Rules, check_uri, context_member, decode_attribute_fragment, decode_entity, decode_list, may_have_context};
pub use notification::{BatchError, Notification, encode_batch_result};
pub use problem::{Problem, ProblemType};
