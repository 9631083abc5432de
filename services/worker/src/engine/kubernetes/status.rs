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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kubernetes::view::{EventView, pod_view};
    use serde_json::{Value, json};

    const HASH: &str = "h1";

    fn seen(pods: &[(&str, Value)], conditions: Value) -> View {
        let metadata = json!({"name": "fogflow-task-1", "uid": "d", "annotations": {"fogflow.io/task": "Task.1", "fogflow.io/spec": HASH}});
        let deployment = serde_json::from_value(json!({"metadata": metadata, "spec": {}, "status": {"conditions": conditions}})).unwrap();
        let mut view = View { deployment: Some(crate::engine::kubernetes::view::deployment_view(&deployment)), ..View::default() };
        for (name, pod) in pods {
            view.pods.insert((*name).to_owned(), pod_view(&serde_json::from_value(pod.clone()).unwrap()));
        }
        view
    }

    /// A pod with this status, made at a second of the minute.
    fn pod(second: u8, status: Value) -> Value {
        json!({
            "metadata": {"name": "p", "uid": format!("u{second}"), "creationTimestamp": format!("2026-11-24T10:00:{second:02}Z"),
                "annotations": {"fogflow.io/spec": HASH}},
            "spec": {"nodeName": "node1"},
            "status": status,
        })
    }

    fn container(state: Value, last: Value, restarts: u8, ready: bool) -> Value {
        let ready = if ready { "True" } else { "False" };
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"restartCount": restarts, "state": state, "lastState": last}]})
    }

    fn told(view: &View) -> (TaskState, String, Option<String>) {
        let status = status(view).unwrap();
        (status.state, status.reason, status.run)
    }

    #[test]
    fn each_thing_that_keeps_a_pod_from_running_has_its_word_and_reason() {
        let waiting =
            |reason: &str, message: &str| container(json!({"waiting": {"reason": reason, "message": message}}), json!({}), 0, false);
        let oom = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let error = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "Traceback\nNameError: x\n"}});
        let back_off = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        let running = json!({"running": {"startedAt": "2026-11-24T10:00:00Z"}});
        let unscheduled = json!({"phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}]});
        for (status, state, reason) in [
            (json!({"phase": "Pending"}), TaskState::Scheduled, ""),
            (unscheduled, TaskState::Failed, "Unschedulable: 0/2 nodes are available"),
            (waiting("ContainerCreating", ""), TaskState::Scheduled, ""),
            (waiting("ErrImagePull", "not found"), TaskState::Failed, "ErrImagePull: not found"),
            (waiting("ImagePullBackOff", "Back-off pulling"), TaskState::Failed, "ImagePullBackOff: Back-off pulling"),
            (waiting("InvalidImageName", ""), TaskState::Failed, "InvalidImageName"),
            (
                waiting("CreateContainerConfigError", "secret \"x\" not found"),
                TaskState::Failed,
                "CreateContainerConfigError: secret \"x\" not found",
            ),
            (container(back_off.clone(), error.clone(), 3, false), TaskState::Failed, "CrashLoopBackOff: exited with code 1: NameError: x"),
            (container(back_off, oom.clone(), 3, false), TaskState::Failed, "CrashLoopBackOff: OOMKilled: it used more memory than it may"),
            (container(error, json!({}), 0, false), TaskState::Starting, "exited with code 1: NameError: x; it is started again"),
            (
                container(running.clone(), oom.clone(), 1, false),
                TaskState::Starting,
                "OOMKilled: it used more memory than it may; it was started again",
            ),
            (container(running.clone(), json!({}), 0, false), TaskState::Starting, ""),
            (container(running, oom, 1, true), TaskState::Running, ""),
        ] {
            let (got, why, _) = told(&seen(&[("p", pod(1, status.clone()))], json!([])));
            assert_eq!((got, why.as_str()), (state, reason), "{status}");
        }
    }

    #[test]
    fn what_keeps_a_pod_from_being_made_is_told_by_its_deployment() {
        let quota = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "pods \"a\" is forbidden: exceeded quota: q"}]);
        let view = seen(&[], quota);
        assert_eq!(told(&view), (TaskState::Failed, "FailedCreate: pods \"a\" is forbidden: exceeded quota: q".to_owned(), None));
        assert_eq!(told(&seen(&[], json!([]))), (TaskState::Scheduled, String::new(), None));
        assert_eq!(status(&View::default()), None);
    }

    #[test]
    fn an_evicted_or_ending_pod_is_not_the_task_and_its_successor_is() {
        let running = container(json!({"running": {}}), json!({}), 2, true);
        let evicted = pod(1, json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}));
        let mut lost = pod(2, running.clone());
        lost["metadata"]["deletionTimestamp"] = json!("2026-11-24T10:01:00Z");
        let view = seen(&[("p1", evicted.clone())], json!([]));
        assert_eq!(told(&view).1, "Evicted: The node was low on resource: memory.; another pod is started");
        let view = seen(&[("p1", evicted.clone()), ("p2", lost.clone())], json!([]));
        assert_eq!((told(&view).0, told(&view).1.as_str()), (TaskState::Starting, "its pod on node node1 ends; another one is started"));
        let view = seen(&[("p1", evicted), ("p2", lost), ("p3", pod(3, running))], json!([]));
        assert_eq!(told(&view), (TaskState::Running, String::new(), Some("u3/2".to_owned())));
    }

    #[test]
    fn a_pod_of_earlier_manifests_is_not_the_task() {
        let mut old = pod(1, container(json!({"running": {}}), json!({}), 0, true));
        old["metadata"]["annotations"]["fogflow.io/spec"] = json!("h0");
        assert_eq!(told(&seen(&[("p", old)], json!([]))), (TaskState::Scheduled, String::new(), None));
    }

    #[test]
    fn events_tell_of_pulls_and_of_volumes_that_cannot_be_mounted() {
        let creating = pod(1, container(json!({"waiting": {"reason": "ContainerCreating"}}), json!({}), 0, false));
        let mut view = seen(&[("p", creating)], json!([]));
        let mut told_after = |pod: &str, reason: &str| {
            view.event = Some(EventView { pod: pod.to_owned(), reason: reason.to_owned(), message: "m".to_owned() });
            let status = status(&view).unwrap();
            (status.state, status.reason)
        };
        assert_eq!(told_after("p", "Pulling"), (TaskState::Pulling, String::new()));
        assert_eq!(told_after("p", "FailedMount"), (TaskState::Failed, "FailedMount: m".to_owned()));
        assert_eq!(told_after("another", "FailedMount"), (TaskState::Scheduled, String::new()));
    }
}
