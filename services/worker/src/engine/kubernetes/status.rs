//! From what is seen of a task's objects to the words of its state: pure.

use fogflow_orchestration::TaskState;

use super::view::{Container, PodView, View};

/// What a task is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) state: TaskState,
    /// For people.
    pub(crate) reason: String,
    /// Names the run of the container, while there is one.
    pub(crate) run: Option<String>,
}

impl Status {
    fn new(state: TaskState, reason: impl Into<String>) -> Self {
        Status { state, reason: reason.into(), run: None }
    }
}

/// Waiting reasons that end by themselves.
const ON_THE_WAY: [&str; 3] = ["", "ContainerCreating", "PodInitializing"];
/// Events about a pod that explain why its container is not created.
const HINDRANCES: [&str; 6] =
    ["FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "NetworkNotReady", "FailedCreatePodContainer", "FailedSync"];

/// The status of a task; `None` when its Deployment is gone.
pub(crate) fn status(view: &View) -> Option<Status> {
    let deployment = view.deployment.as_ref()?;
    if let Some((name, pod)) = current_pod(view) {
        return Some(pod_status(view, name, pod));
    }
    if let Some(problem) = &deployment.problem {
        return Some(Status::new(TaskState::Failed, problem.clone()));
    }
    let earlier = view.pods.values().filter(|pod| pod.hash == deployment.hash).max_by(|a, b| a.created.cmp(&b.created));
    Some(match earlier {
        Some(PodView { reason: Some(reason), ending: false, .. }) => {
            Status::new(TaskState::Starting, format!("{reason}; another pod is started"))
        }
        Some(pod) if pod.ending => Status::new(TaskState::Starting, format!("its pod on node {} ends; another one is started", pod.node)),
        _ => Status::new(TaskState::Scheduled, ""),
    })
}

/// The newest pod of the Deployment as it is now that has not ended and is not told to.
pub(crate) fn current_pod(view: &View) -> Option<(&str, &PodView)> {
    let hash = &view.deployment.as_ref()?.hash;
    let is_current = |pod: &PodView| pod.hash == *hash && !pod.ending && !matches!(pod.phase.as_str(), "Failed" | "Succeeded");
    let newest = view.pods.iter().filter(|(_, pod)| is_current(pod)).max_by(|a, b| a.1.created.cmp(&b.1.created));
    newest.map(|(name, pod)| (name.as_str(), pod))
}

fn pod_status(view: &View, name: &str, pod: &PodView) -> Status {
    if let Some(reason) = &pod.unscheduled {
        return Status::new(TaskState::Failed, reason.clone());
    }
    let event = view.event.as_ref().filter(|event| event.pod == name);
    match &pod.container {
        Container::Running => {
            let run = Some(format!("{}/{}", pod.uid, pod.restarts));
            match (&pod.last_end, pod.ready) {
                (_, true) => Status { run, ..Status::new(TaskState::Running, "") },
                (Some(end), false) => Status { run, ..Status::new(TaskState::Starting, format!("{end}; it was started again")) },
                (None, false) => Status { run, ..Status::new(TaskState::Starting, "") },
            }
        }
        Container::Waiting(reason, message) if reason == "CrashLoopBackOff" => {
            let detail = pod.last_end.as_ref().unwrap_or(message);
            Status::new(TaskState::Failed, format!("{reason}: {detail}"))
        }
        Container::Waiting(reason, message) if !ON_THE_WAY.contains(&reason.as_str()) => {
            let text = if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") };
            Status::new(TaskState::Failed, text)
        }
        Container::Ended(end) => Status::new(TaskState::Starting, format!("{end}; it is started again")),
        Container::Waiting(..) | Container::Unknown => match event {
            Some(event) if event.reason == "Pulling" => Status::new(TaskState::Pulling, ""),
            Some(event) if HINDRANCES.contains(&event.reason.as_str()) => {
                Status::new(TaskState::Failed, format!("{}: {}", event.reason, event.message))
            }
            _ => Status::new(TaskState::Scheduled, ""),
        },
    }
}
