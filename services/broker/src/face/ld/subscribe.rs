//! From a subscription's document to the engine's subscription.

use fogflow_ngsi::context::Context;
use fogflow_ngsi::ld::Format as Representation;
use fogflow_ngsi::ld::subscription::{Subscription as Read, Trigger as On};
use fogflow_ngsi::{DecodeError, Json};
use serde_json::{Map, Value};
use smol_str::{SmolStr, format_smolstr};

use super::selection::selectors;
use crate::filter::EntitySelector;
use crate::identity::Identity;
use crate::restriction;
use crate::subscription::{AttributeTrigger, Face, Format, Subscription, Target, Trigger};

/// The engine's form of an expanded document. `link` is a URL for the context.
pub(super) fn canonical(
    document: &Map<String, Value>,
    identity: &Identity,
    context: &Context,
    link: String,
    lenient: bool,
) -> Result<Subscription, DecodeError> {
    let read = Read::read(document)?;
    let format = match read.format {
        Representation::Normalized => Format::Ld,
        Representation::Concise => Format::LdConcise,
        Representation::Simplified => Format::LdKeyValues,
    };
    let mut headers = read.receiver_info.clone();
    if !identity.tenant.is_default() {
        headers.push((SmolStr::new_static("NGSILD-Tenant"), identity.tenant.0.clone()));
    }
    let target = Target {
        url: read.uri.clone(),
        format,
        accept: read.accept.clone(),
        headers,
        context: if context.is_core() { SmolStr::default() } else { format_smolstr!("{}", context.to_value()) },
        link: if context.is_core() { SmolStr::default() } else { link.into() },
        sys_attrs: read.sys_attrs,
        lang: read.lang.clone(),
        datasets: read.datasets.clone(),
        picks: read.picks,
        show_changes: read.show_changes,
        join: read.join.clone(),
        join_level: read.join_level,
        ..Target::default()
    };
    let mut subscription = Subscription::new(Face::Ld, identity.tenant.clone(), target);
    subscription.id = read.id.clone().unwrap_or_default();
    subscription.path = identity.scope();
    subscription.correlator.clone_from(&identity.origin.correlator);
    for selector in &read.entities {
        subscription.entities.extend(selectors(&selector.ids, selector.id_pattern.clone(), selector.types.as_ref()));
    }
    if read.entities.is_empty() {
        subscription.entities.push(EntitySelector::default());
    }
    match &read.geo {
        Some(geo) => {
            subscription.restriction = restriction::of_geo(geo);
            subscription.geoproperty = geo.geoproperty.as_str().into();
        }
        // A geo query that makes no sense, which upstream accepts, never holds.
        None if document.contains_key("geoQ") => subscription.entities.clear(),
        None => {}
    }
    subscription.watched = read.watched;
    subscription.q = read.q.map(|query| format_smolstr!("{query}")).unwrap_or_default();
    subscription.scope_q = read.scope_q.unwrap_or_default();
    subscription.attributes = read.attributes;
    subscription.except = read.omit;
    subscription.trigger = trigger(&read.triggers);
    let seconds = read.throttling.or(read.time_interval).unwrap_or_default();
    // Seconds beyond any life time are as good as that.
    subscription.throttling_ms = (seconds * 1000.0).clamp(0.0, 1e15) as u64;
    subscription.expires_at = read.expires_at;
    subscription.paused = read.paused;
    // Upstream tells the present state first; the standard tells changes only.
    subscription.skip_initial = !lenient;
    subscription.document = Json::from(&Value::Object(document.clone()));
    Ok(subscription)
}

fn trigger(on: &std::collections::BTreeSet<On>) -> Trigger {
    if on.is_empty() {
        return Trigger::WRITTEN;
    }
    let any = |of: &[On]| of.iter().any(|one| on.contains(one));
    Trigger {
        created: any(&[On::EntityCreated]),
        updated: any(&[On::EntityUpdated]),
        deleted: any(&[On::EntityDeleted]),
        only_modified: false,
        attributes: AttributeTrigger {
            created: any(&[On::AttributeCreated]),
            updated: any(&[On::AttributeUpdated]),
            deleted: any(&[On::AttributeDeleted]),
        },
    }
}
