//! Flows: one per (intent, task of its topology). A flow says which entities it wants and how they become task instances.
//!
//! FAULT 7: upstream names a flow without its intent, so that a second intent for the same topology replaces the first.

use std::collections::BTreeMap;
use std::sync::Arc;

use fogflow_orchestration::{EntityDetail, GeoScope, InputSelector, Operator, ServiceIntent, Task, Topology, ids};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::entity::EntityKey;
use super::objective::Objective;
use super::scope::Scope;

/// Names a flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The intent.
    pub intent: Arc<str>,
    /// The task of its topology.
    pub task: Arc<str>,
}

/// An intent applied to one task of its topology. Two equal flows make equal plans.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Its name.
    pub key: FlowKey,
    /// Topology name.
    pub topology: String,
    /// Operator name.
    pub operator: String,
    /// Tenant of inputs and outputs; empty for the default one.
    pub tenant: String,
    /// What it consumes.
    pub streams: Vec<InputStreamSpec>,
    /// Entity types that it publishes.
    pub outputs: Vec<String>,
    /// Whether its tasks want a worker for themselves.
    pub exclusive: bool,
    /// Priority among exclusive tasks.
    pub level: i32,
    /// How workers are chosen.
    pub objective: Objective,
}

/// One input stream of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct InputStreamSpec {
    /// Which entities.
    pub selector: Arc<Selector>,
    /// How they are grouped.
    pub group_by: GroupBy,
}

/// Which entities an input stream takes. Equal selectors share one availability subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// Names it: see [`Selector::new`].
    pub id: Arc<str>,
    /// Tenant; empty for the default one.
    pub tenant: String,
    /// Exact type.
    pub entity_type: String,
    /// Attributes that must exist and are delivered, sorted; empty for all.
    pub attributes: Vec<String>,
    /// Where.
    pub scope: Scope,
}

impl Selector {
    /// Makes a selector. Its id depends on its content only (`Availability.` and 16 hexadecimal digits), so that every master
    /// asks discovery for the same subscription, also after a restart.
    #[must_use]
    pub fn new(tenant: &str, stream: &InputSelector, scope: &Scope, restriction: &GeoScope) -> Self {
        let mut attributes: Vec<String> =
            stream.selected_attributes.iter().filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("all")).cloned().collect();
        attributes.sort_unstable();
        attributes.dedup();
        let restricted = stream.scoped && *scope != Scope::Everywhere;
        let mut hash = Sha256::new();
        for part in [tenant, &stream.selected_type].into_iter().chain(attributes.iter().map(String::as_str)) {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        if restricted {
            hash.update(restriction.scope_type.to_ascii_lowercase());
            hash.update(ids::canonical(&restriction.scope_value));
        }
        let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Selector {
            id: format!("Availability.{digest}").into(),
            tenant: tenant.to_owned(),
            entity_type: stream.selected_type.clone(),
            attributes,
            scope: if restricted { scope.clone() } else { Scope::Everywhere },
        }
    }

    /// Whether it takes an entity. Discovery has filtered already; an upstream discovery lets pass what it should not: other
    /// types that contain the name (FAULT 22) and entities without location.
    #[must_use]
    pub fn takes(&self, entity: &EntityDetail) -> bool {
        let has = |name: &String| entity.attributes.is_empty() || entity.attributes.contains(name);
        (entity.entity_type == self.entity_type || entity.entity_type.is_empty())
            && self.attributes.iter().all(has)
            && self.scope.contains(entity)
    }
}

/// How the entities of a stream are grouped: each distinct value makes a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// All in one group: broadcast to every task instance.
    All,
    /// By entity: its id, and its service path unless that is `/`.
    EntityId,
    /// By entity type.
    EntityType,
    /// By the value of the metadata item of this name; entities without it share the value `null`.
    Metadata(String),
}

impl GroupBy {
    /// Reads the word of a selector. Upstream knows `ALL`, `EntityID` and `EntityType` in this spelling only; an empty word
    /// means `ALL`.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "" | "all" => GroupBy::All,
            "entityid" => GroupBy::EntityId,
            "entitytype" => GroupBy::EntityType,
            _ => GroupBy::Metadata(word.to_owned()),
        }
    }

    /// Its word, as it enters group keys.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            GroupBy::All => "ALL",
            GroupBy::EntityId => "EntityID",
            GroupBy::EntityType => "EntityType",
            GroupBy::Metadata(name) => name,
        }
    }

    /// The group value of an entity as canonical JSON text.
    #[must_use]
    pub fn value_of(&self, entity: &EntityDetail) -> Arc<str> {
        match self {
            GroupBy::All => "\"ALL\"".into(),
            GroupBy::EntityId => match EntityKey::of(entity).path {
                None => ids::canonical_string(&entity.id).into(),
                Some(path) => ids::canonical(&serde_json::json!([entity.id, path])).into(),
            },
            GroupBy::EntityType => ids::canonical_string(&entity.entity_type).into(),
            GroupBy::Metadata(name) => {
                ids::canonical(entity.metadata.get(name).and_then(|item| item.get("value")).unwrap_or(&Value::Null)).into()
            }
        }
    }
}

/// The flows of an intent, or why it has none.
///
/// # Errors
/// [`IntentProblem`] when the topology or an operator is not known, or the geoscope cannot be understood.
pub fn flows_of(
    intent: &ServiceIntent,
    topology: Option<&Topology>,
    operators: &BTreeMap<String, Arc<Operator>>,
) -> Result<Vec<Flow>, IntentProblem> {
    let topology = topology.ok_or_else(|| IntentProblem::Pending(format!("topology `{}` is not registered", intent.topology)))?;
    if topology.tasks.is_empty() {
        return Err(IntentProblem::Failed(format!("topology `{}` has no tasks", topology.name)));
    }
    let scope = Scope::parse(&intent.geoscope).map_err(IntentProblem::Failed)?;
    for task in &topology.tasks {
        if !operators.contains_key(&task.operator) {
            return Err(IntentProblem::Pending(format!("operator `{}` of task `{}` is not registered", task.operator, task.name)));
        }
        if let Some(stream) = task.input_streams.iter().position(|stream| stream.selected_type.is_empty()) {
            return Err(IntentProblem::Failed(format!("input {} of task `{}` selects no entity type", stream + 1, task.name)));
        }
    }
    Ok(topology.tasks.iter().map(|task| flow_of(intent, topology, task, &scope)).collect())
}

fn flow_of(intent: &ServiceIntent, topology: &Topology, task: &Task, scope: &Scope) -> Flow {
    let tenant = intent.tenant.clone().unwrap_or_default();
    let streams = task.input_streams.iter().map(|stream| InputStreamSpec {
        selector: Arc::new(Selector::new(&tenant, stream, scope, &intent.geoscope)),
        group_by: GroupBy::parse(&stream.groupby),
    });
    Flow {
        key: FlowKey { intent: intent.id.as_str().into(), task: task.name.as_str().into() },
        topology: topology.name.clone(),
        operator: task.operator.clone(),
        streams: streams.collect(),
        outputs: task.output_streams.iter().map(|output| output.entity_type.clone()).collect(),
        exclusive: intent.priority.exclusive,
        level: intent.priority.level,
        objective: Objective::parse(&intent.qos),
        tenant,
    }
}

/// Why an intent has no flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntentProblem {
    /// Something that may still come.
    Pending(String),
    /// Something that the user has to correct.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use fogflow_orchestration::OutputSelector;
    use serde_json::json;

    use super::*;

    fn stream(kind: &str, attributes: &[&str], scoped: bool) -> InputSelector {
        InputSelector {
            selected_type: kind.to_owned(),
            selected_attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
            groupby: "entityid".to_owned(),
            scoped,
        }
    }

    fn circle(radius: f64) -> GeoScope {
        GeoScope { scope_type: "circle".to_owned(), scope_value: json!({"centerLatitude": 1, "centerLongitude": 1, "radius": radius}) }
    }

    fn selector(stream: &InputSelector, scope: &GeoScope) -> Selector {
        Selector::new("", stream, &Scope::parse(scope).expect("a scope"), scope)
    }

    #[test]
    fn equal_selectors_share_an_id_and_others_do_not() {
        let plain = selector(&stream("T", &[], false), &GeoScope::default());
        assert_eq!(plain.id, selector(&stream("T", &["ALL"], true), &GeoScope::default()).id);
        assert_eq!(plain.id, selector(&stream("T", &[], false), &circle(5.0)).id, "a scope that does not apply does not count");
        assert_ne!(plain.id, selector(&stream("T", &[], true), &circle(5.0)).id);
        assert_ne!(selector(&stream("T", &[], true), &circle(6.0)).id, selector(&stream("T", &[], true), &circle(5.0)).id);
        assert_ne!(plain.id, selector(&stream("T", &["a"], false), &GeoScope::default()).id);
        assert_ne!(plain.id, Selector::new("acme", &stream("T", &[], false), &Scope::Everywhere, &GeoScope::default()).id);
    }

    #[test]
    fn fault_22_a_type_is_compared_whole() {
        let home = selector(&stream("Home", &[], false), &GeoScope::default());
        let entity = |kind: &str| EntityDetail { id: "x".to_owned(), entity_type: kind.to_owned(), ..EntityDetail::default() };
        assert!(home.takes(&entity("Home")) && !home.takes(&entity("SmartHome")));
    }

    #[test]
    fn words_of_grouping_are_read_in_any_case() {
        assert_eq!(GroupBy::parse("all"), GroupBy::All);
        assert_eq!(GroupBy::parse("entityID"), GroupBy::EntityId);
        assert_eq!(GroupBy::parse("ENTITYTYPE"), GroupBy::EntityType);
        assert_eq!(GroupBy::parse("City"), GroupBy::Metadata("City".to_owned()));
    }

    #[test]
    fn fault_23_metadata_of_any_form_is_a_group_value() {
        let mut entity = EntityDetail::default();
        let by_area = GroupBy::parse("area");
        assert_eq!(&*by_area.value_of(&entity), "null");
        entity.metadata.insert("area".to_owned(), json!({"type": "object", "value": {"b": 1.0, "a": [2]}}));
        assert_eq!(&*by_area.value_of(&entity), r#"{"a":[2],"b":1}"#);
    }

    #[test]
    fn an_intent_whose_topology_is_unknown_waits() {
        let intent = ServiceIntent { id: "i".to_owned(), topology: "none".to_owned(), ..ServiceIntent::default() };
        assert!(matches!(flows_of(&intent, None, &BTreeMap::new()), Err(IntentProblem::Pending(reason)) if reason.contains("none")));
        let task =
            Task { name: "a".to_owned(), operator: "x".to_owned(), output_streams: vec![OutputSelector::default()], ..Task::default() };
        let topology = Topology { name: "t".to_owned(), tasks: vec![task], ..Topology::default() };
        assert!(
            matches!(flows_of(&intent, Some(&topology), &BTreeMap::new()), Err(IntentProblem::Pending(reason)) if reason.contains("`x`"))
        );
    }
}
