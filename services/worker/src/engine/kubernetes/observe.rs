//! Differences of a task's status, as its actor is told them.

use std::collections::VecDeque;

use fogflow_orchestration::TaskState;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;

use super::status::{Status, status};
use super::view::View;
use crate::engine::{Instance, Observed};

/// Whether this run of the task's container listens.
pub(crate) fn is_listening(view: &View, run: &str) -> bool {
    status(view).is_some_and(|status| status.state == TaskState::Running && status.run.as_deref() == Some(run))
}

/// What happens to `instance` from now on.
pub(crate) fn changes(view: watch::Receiver<View>, instance: Instance) -> BoxStream<'static, Observed> {
    struct Following {
        view: watch::Receiver<View>,
        instance: Instance,
        told: Option<(TaskState, String)>,
        waiting: VecDeque<Observed>,
        is_over: bool,
        is_first: bool,
    }
    let first = Following { view, instance, told: None, waiting: VecDeque::new(), is_over: false, is_first: true };
    stream::unfold(first, |mut follow| async move {
        loop {
            if let Some(observed) = follow.waiting.pop_front() {
                return Some((observed, follow));
            }
            if follow.is_over || (!follow.is_first && follow.view.changed().await.is_err()) {
                return None;
            }
            follow.is_first = false;
            let now = status(&follow.view.borrow_and_update());
            follow.is_over = now.is_none();
            follow.waiting = differences(&mut follow.instance, &mut follow.told, now);
        }
    })
    .boxed()
}

/// What to tell of a new status; `instance` and `told` become what is told by then.
fn differences(instance: &mut Instance, told: &mut Option<(TaskState, String)>, now: Option<Status>) -> VecDeque<Observed> {
    let mut news = VecDeque::new();
    let Some(now) = now else {
        news.push_back(Observed::Ended("its Deployment was deleted by somebody".to_owned()));
        return news;
    };
    if let Some(run) = now.run.filter(|run| *run != instance.handle) {
        instance.handle = run;
        instance.adopted = false;
        news.push_back(Observed::Replaced(instance.clone()));
        *told = None;
    }
    let phase = (now.state, now.reason);
    if told.as_ref() != Some(&phase) {
        news.push_back(match phase.0 {
            TaskState::Running => Observed::Recovered,
            state => Observed::Phase(state, phase.1.clone()),
        });
        *told = Some(phase);
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(state: TaskState, reason: &str, run: Option<&str>) -> Option<Status> {
        Some(Status { state, reason: reason.to_owned(), run: run.map(str::to_owned) })
    }

    #[test]
    fn a_new_run_is_told_before_what_it_does_and_nothing_is_told_twice() {
        let mut instance = Instance { task_id: "t".to_owned(), handle: String::new(), endpoint: "e".to_owned(), adopted: true };
        let mut told = None;
        let mut news = |now| Vec::from(differences(&mut instance, &mut told, now));
        let replaced = |run: &str| {
            Observed::Replaced(Instance { task_id: "t".to_owned(), handle: run.to_owned(), endpoint: "e".to_owned(), adopted: false })
        };
        assert_eq!(news(status_of(TaskState::Pulling, "", None)), [Observed::Phase(TaskState::Pulling, String::new())]);
        assert_eq!(news(status_of(TaskState::Pulling, "", None)), []);
        let starting = Observed::Phase(TaskState::Starting, String::new());
        assert_eq!(news(status_of(TaskState::Starting, "", Some("a/0"))), [replaced("a/0"), starting.clone()]);
        assert_eq!(news(status_of(TaskState::Running, "", Some("a/0"))), [Observed::Recovered]);
        let failed = Observed::Phase(TaskState::Failed, "CrashLoopBackOff".to_owned());
        assert_eq!(news(status_of(TaskState::Failed, "CrashLoopBackOff", None)), [failed]);
        assert_eq!(news(status_of(TaskState::Starting, "", Some("a/1"))), [replaced("a/1"), starting]);
        assert!(matches!(news(None)[..], [Observed::Ended(_)]));
    }
}
