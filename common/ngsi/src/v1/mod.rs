//! NGSI-10 and NGSI-9 (OMA NGSI v1 as FogFlow speaks it): decoders from request bodies, encoders of replies.
//!
//! Member names are accepted in any letter case, `null` is the same as an absent member, and unknown members are
//! skipped, because the Go programs that this face must work with decode so. A value is never changed to fit its
//! declared type: it is kept, and [`ContextElement::mismatches`] says so.
//!
//! What v1 cannot express of an entity that was written through another face:
//! * an attribute with several instances (`datasetId`) shows its default instance, else its first;
//! * a GeoProperty is shown as domain metadata, since that is what v1 clients and discovery look at;
//! * `observedAt` and `unitCode` are shown as attribute metadata of the same name;
//! * of several entity types the first is shown, scopes are not.

mod attribute;
pub mod availability;
mod element;
mod encode;
mod entity_id;
pub(crate) mod metadata;
mod notify;
mod query;
mod scope;
mod status;
mod subscribe;
#[cfg(test)]
mod tests;
mod update;

pub use element::ContextElement;
pub use encode::{
    ElementResult, encode_attribute, encode_element, encode_elements, encode_notification, encode_query_response, encode_update_request,
    encode_update_response, write_element, write_metadata,
};
pub use entity_id::EntityId;
pub use metadata::decode_domain_metadata;
pub use notify::{ContextElementResponse, NotifyContextRequest, NotifyContextResponse, QueryContextResponse};
pub use query::QueryContextRequest;
pub use scope::{Restriction, Scope};
pub use status::StatusCode;
pub use subscribe::{
    NotifyCondition, SubscribeContextRequest, SubscribeContextResponse, SubscribeError, SubscribeResponse, Subscriber,
    UnsubscribeContextRequest, UnsubscribeContextResponse,
};
pub use update::{UpdateAction, UpdateContextRequest, UpdateContextResponse};
