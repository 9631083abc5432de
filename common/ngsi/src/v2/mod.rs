//! NGSIv2: entities in all representations, batch operations, subscriptions and notifications.
//!
//! Names are those of the model in short form, so an entity written through another face is shown with the names that
//! v1 uses, and a name that a user's `@context` maps elsewhere with its full IRI.
//!
//! What NGSIv2 cannot express of an entity that was written through another face: of an attribute with several instances
//! (`datasetId`) it shows the default one, else the first; of several types the first; scopes not at all. `observedAt`
//! and `unitCode` are shown as metadata of the same name.

mod decode;
mod encode;
mod operations;
mod place;
mod subscription;
mod syntax;
#[cfg(test)]
mod tests;

pub use decode::{Rules, decode_attribute, decode_entity, decode_value};
pub use encode::{Format, View, encode_attribute, encode_attribute_value, encode_notification, write_entity};
pub use operations::{ActionType, BatchQuery, BatchUpdate, EntitySelector, Expression, Notify};
pub use subscription::{AttributesFormat, Subscription, apply_patch};
pub use syntax::check_name;
