//! What is kept of the cluster's objects: a few words per task, whatever the objects' size.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Object;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::watch;

use super::names::{INSTANCE, SPEC, TASK};

/// Longest message that is kept (characters); the API server's own limit for events is 1024.
const LONGEST: usize = 500;

/// What is seen of one task's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) deployment: Option<DeploymentView>,
    /// Hash of the Service's manifest.
    pub(crate) service: Option<String>,
    /// By name.
    pub(crate) pods: BTreeMap<String, PodView>,
    pub(crate) event: Option<EventView>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeploymentView {
    pub(crate) task_id: String,
    pub(crate) uid: String,
    pub(crate) hash: String,
    /// Why it cannot make a pod (quota, admission).
    pub(crate) problem: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodView {
    pub(crate) uid: String,
    pub(crate) hash: String,
    /// RFC 3339.
    pub(crate) created: String,
    pub(crate) node: String,
    pub(crate) phase: String,
    /// `Evicted: …` and the like.
    pub(crate) reason: Option<String>,
    /// Deleted, and not yet gone.
    pub(crate) ending: bool,
    /// Why it has no node.
    pub(crate) unscheduled: Option<String>,
    pub(crate) ready: bool,
    pub(crate) restarts: u32,
    pub(crate) container: Container,
    /// How the container's last run ended.
    pub(crate) last_end: Option<String>,
}

/// The state of the one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Container {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// Not running, for this reason; with the message that belongs to it.
    Waiting(String, String),
    Running,
    /// It ended like this.
    Ended(String),
}

/// The last event about a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventView {
    pub(crate) pod: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// Views of all tasks, kept up to date by watches.
#[derive(Debug, Default)]
pub(crate) struct Views {
    by_name: Mutex<HashMap<String, watch::Sender<View>>>,
}

impl Views {
    /// Changes the view of a task, or starts one.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut View)) {
        let mut views = self.by_name.lock();
        let sender = views.entry(name.to_owned()).or_default();
        let mut after = sender.borrow().clone();
        change(&mut after);
        let is_empty = after.deployment.is_none() && after.service.is_none() && after.pods.is_empty();
        sender.send_if_modified(|view| {
            let changed = *view != after;
            *view = after;
            changed
        });
        if is_empty && sender.is_closed() {
            views.remove(name);
        }
    }

    /// Forgets the view of a task that has nothing and that nobody follows.
    pub(crate) fn tidy(&self, name: &str) {
        self.change(name, |_| {});
    }

    /// Follows the view of a task, there or not.
    pub(crate) fn follow(&self, name: &str) -> watch::Receiver<View> {
        self.by_name.lock().entry(name.to_owned()).or_default().subscribe()
    }

    /// The view of a task as it is now.
    pub(crate) fn get(&self, name: &str) -> View {
        self.by_name.lock().get(name).map(|sender| sender.borrow().clone()).unwrap_or_default()
    }

    /// Task ids and uids of all Deployments.
    pub(crate) fn deployments(&self) -> Vec<(String, String)> {
        let views = self.by_name.lock();
        let found = views.values().filter_map(|sender| {
            let view = sender.borrow();
            view.deployment.as_ref().map(|deployment| (deployment.task_id.clone(), deployment.uid.clone()))
        });
        found.collect()
    }

    /// Changes every view, for what a list that was read anew did not contain.
    pub(crate) fn change_all(&self, change: impl Fn(&str, &mut View)) {
        let names: Vec<String> = self.by_name.lock().keys().cloned().collect();
        for name in names {
            self.change(&name, |view| change(&name, view));
        }
    }
}

/// A pod without what is not needed of it.
pub(crate) type PrunedPod = Object<PrunedPodSpec, PrunedPodStatus>;
/// A Deployment without what is not needed of it.
pub(crate) type PrunedDeployment = Object<Empty, PrunedDeploymentStatus>;

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Empty {}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PrunedPodSpec {
    node_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PrunedPodStatus {
    phase: String,
    reason: String,
    message: String,
    conditions: Vec<Condition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PrunedDeploymentStatus {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    r#type: String,
    status: String,
    reason: String,
    message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    restart_count: u32,
    state: ContainerState,
    last_state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
    running: Option<Empty>,
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    exit_code: i32,
    reason: String,
    message: String,
}

impl Terminated {
    /// For people: how it ended, and the last line that it wrote.
    fn words(&self) -> String {
        let mut text = match (self.reason.as_str(), self.exit_code) {
            ("OOMKilled", _) => "OOMKilled: it used more memory than it may".to_owned(),
            (_, code) if code > 128 => format!("killed by signal {}", code - 128),
            ("Error" | "Completed" | "", code) => format!("exited with code {code}"),
            (reason, code) => format!("{reason}, exited with code {code}"),
        };
        if let Some(line) = self.message.lines().rev().find(|line| !line.trim().is_empty()) {
            text.push_str(": ");
            text.extend(line.trim().chars().take(200));
        }
        text
    }
}

/// A message, not longer than what is kept.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

fn annotation(metadata: &ObjectMeta, key: &str) -> String {
    metadata.annotations.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default()
}

/// The name of the task's objects, by the label.
pub(crate) fn instance(metadata: &ObjectMeta) -> Option<&str> {
    metadata.labels.as_ref()?.get(INSTANCE).map(String::as_str)
}

/// The hash in the annotations.
pub(crate) fn spec_hash(metadata: &ObjectMeta) -> String {
    annotation(metadata, SPEC)
}

pub(crate) fn deployment_view(object: &PrunedDeployment) -> DeploymentView {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    let mut failures = conditions.filter(|condition| condition.r#type == "ReplicaFailure" && condition.status == "True");
    DeploymentView {
        task_id: annotation(&object.metadata, TASK),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        hash: spec_hash(&object.metadata),
        problem: failures.next().map(|condition| cut(&format!("{}: {}", condition.reason, condition.message))),
    }
}

pub(crate) fn pod_view(pod: &PrunedPod) -> PodView {
    let status = pod.status.clone().unwrap_or_default();
    let condition = |name: &str| status.conditions.iter().find(|condition| condition.r#type == name);
    let container = status.container_statuses.first().cloned().unwrap_or_default();
    let state = match container.state {
        ContainerState { running: Some(_), .. } => Container::Running,
        ContainerState { terminated: Some(end), .. } => Container::Ended(end.words()),
        ContainerState { waiting: Some(waiting), .. } => Container::Waiting(waiting.reason, cut(&waiting.message)),
        ContainerState { .. } => Container::Unknown,
    };
    let reason = (!status.reason.is_empty()).then(|| match status.message.as_str() {
        "" => status.reason.clone(),
        message => cut(&format!("{}: {message}", status.reason)),
    });
    PodView {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        hash: spec_hash(&pod.metadata),
        created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
        node: pod.spec.node_name.clone(),
        reason,
        ending: pod.metadata.deletion_timestamp.is_some(),
        unscheduled: condition("PodScheduled")
            .filter(|condition| condition.status == "False")
            .map(|condition| cut(&format!("{}: {}", condition.reason, condition.message))),
        ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
        restarts: container.restart_count,
        container: state,
        last_end: container.last_state.terminated.map(|end| end.words()),
        phase: status.phase,
    }
}
