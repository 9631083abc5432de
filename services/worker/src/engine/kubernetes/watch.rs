//! The watches that keep the [`Views`] true: pods, Deployments and Services of this worker by label, and events of pods.
//!
//! Objects are read into pruned types and dropped as soon as their few words are noted, page by page and event by event.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use fogflow_chassis::Process;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::names;
use super::view::{self, EventView, PrunedDeployment, PrunedPod, Views};

/// The server ends a watch after this many seconds; one that is silent for 5 s more is taken for dead.
const WATCH_SECONDS: u32 = 30;
const PAGE: u32 = 250;

/// Starts the watches of one worker's objects in a namespace. The receiver becomes true once all of them have seen what
/// there is.
pub(crate) fn start(process: &Process, client: &Client, namespace: &str, worker_id: &str, views: &Arc<Views>) -> watch::Receiver<bool> {
    let (all, synced) = watch::channel(false);
    let missing = Arc::new(parking_lot::Mutex::new(BTreeSet::from(["pods", "deployments", "services"])));
    let selector = names::selector(worker_id);
    let (client, namespace) = (client.clone(), namespace.to_owned());
    let seen = move |kind: &'static str| {
        let mut missing = missing.lock();
        missing.remove(kind);
        all.send_replace(missing.is_empty());
    };
    let seen = Arc::new(seen);

    spawn(process, "pods", {
        let (client, namespace, selector, views, seen) =
            (client.clone(), namespace.clone(), selector.clone(), Arc::clone(views), Arc::clone(&seen));
        move || {
            let api = Api::<PrunedPod>::namespaced_with(client.clone(), &namespace, &ApiResource::erase::<Pod>(&()));
            let (apply, remove, prune) = (Arc::clone(&views), Arc::clone(&views), Arc::clone(&views));
            let seen = Arc::clone(&seen);
            follow(watcher(api, config(&selector)), move |change| match change {
                Change::There(pod) => {
                    if let Some(instance) = view::instance(pod.meta()) {
                        apply.change(instance, |view| drop(view.pods.insert(pod.name_any(), view::pod_view(&pod))));
                    }
                }
                Change::Gone(pod) => {
                    if let Some(instance) = view::instance(pod.meta()) {
                        remove.change(instance, |view| drop(view.pods.remove(&pod.name_any())));
                    }
                }
                Change::Whole(names) => {
                    prune.change_all(|_, view| view.pods.retain(|pod, _| names.contains(pod)));
                    seen("pods");
                }
            })
        }
    });
    spawn(process, "deployments", {
        let (client, namespace, selector, views, seen) =
            (client.clone(), namespace.clone(), selector.clone(), Arc::clone(views), Arc::clone(&seen));
        move || {
            let api = Api::<PrunedDeployment>::namespaced_with(client.clone(), &namespace, &ApiResource::erase::<Deployment>(&()));
            let (views, seen) = (Arc::clone(&views), Arc::clone(&seen));
            follow(watcher(api, config(&selector)), move |change| match change {
                // One that is being deleted is as good as gone: it makes no more pods.
                Change::There(object) if object.meta().deletion_timestamp.is_none() => {
                    views.change(&object.name_any(), |view| view.deployment = Some(view::deployment_view(&object)));
                }
                Change::There(object) | Change::Gone(object) => views.change(&object.name_any(), |view| view.deployment = None),
                Change::Whole(names) => {
                    views.change_all(|name, view| view.deployment = view.deployment.take().filter(|_| names.contains(name)));
                    seen("deployments");
                }
            })
        }
    });
    spawn(process, "services", {
        let (client, namespace, selector, views, seen) = (client.clone(), namespace.clone(), selector, Arc::clone(views), seen);
        move || {
            let api = Api::<PartialObjectMeta<Service>>::namespaced(client.clone(), &namespace);
            let (views, seen) = (Arc::clone(&views), Arc::clone(&seen));
            // Only those named like their task: the others offer ports.
            let is_main = |object: &PartialObjectMeta<Service>| view::instance(object.meta()) == Some(&object.name_any());
            follow(watcher(api, config(&selector)), move |change| match change {
                Change::There(object) if is_main(&object) => {
                    views.change(&object.name_any(), |view| view.service = Some(view::spec_hash(object.meta())));
                }
                Change::Gone(object) if is_main(&object) => views.change(&object.name_any(), |view| view.service = None),
                Change::There(_) | Change::Gone(_) => {}
                Change::Whole(names) => {
                    views.change_all(|name, view| view.service = view.service.take().filter(|_| names.contains(name)));
                    seen("services");
                }
            })
        }
    });
    spawn(process, "events", {
        let views = Arc::clone(views);
        move || events(Api::namespaced(client.clone(), &namespace), Arc::clone(&views))
    });
    synced
}

fn spawn<F, Fut>(process: &Process, kind: &str, make: F)
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let shutdown = process.shutdown.clone();
    process.tasks.spawn_restarting(format!("worker/watch-{kind}"), move || {
        let (shutdown, make) = (shutdown.clone(), make.clone());
        async move {
            tokio::select! {
                () = shutdown.cancelled() => Ok(()),
                ended = make() => ended,
            }
        }
    });
}

fn config(selector: &str) -> watcher::Config {
    watcher::Config::default().labels(selector).timeout(WATCH_SECONDS).page_size(PAGE)
}

enum Change<K> {
    There(K),
    Gone(K),
    /// A list was read to its end; these are the names of all that is there.
    Whole(BTreeSet<String>),
}

/// Hands every change to `note`. Errors are logged; the stream goes on after a pause.
async fn follow<K: Resource + Clone + DeserializeOwned + Debug + Send + 'static>(
    stream: impl futures::Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    mut note: impl FnMut(Change<K>) + Send,
) -> anyhow::Result<()> {
    let mut stream = std::pin::pin!(stream.default_backoff());
    let mut present = BTreeSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Apply(object)) => note(Change::There(object)),
            Ok(watcher::Event::Delete(object)) => note(Change::Gone(object)),
            Ok(watcher::Event::Init) => present.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                present.insert(object.name_any());
                note(Change::There(object));
            }
            Ok(watcher::Event::InitDone) => note(Change::Whole(std::mem::take(&mut present))),
            Err(error) => tracing::warn!(%error, "a watch of the API server is interrupted"),
        }
    }
    Ok(())
}

/// Events are hints: those of the past are not read, and what is missed is missed.
async fn events(api: Api<Event>, views: Arc<Views>) -> anyhow::Result<()> {
    let of_pods = "involvedObject.kind=Pod";
    let mut version = api.list(&ListParams::default().fields(of_pods).limit(1)).await?.metadata.resource_version.unwrap_or_default();
    let idle = Duration::from_secs(u64::from(WATCH_SECONDS) + 5);
    loop {
        let mut stream = api.watch(&WatchParams::default().fields(of_pods).timeout(WATCH_SECONDS), &version).await?.boxed();
        while let Some(event) = tokio::time::timeout(idle, stream.try_next()).await?? {
            match event {
                WatchEvent::Added(event) | WatchEvent::Modified(event) => {
                    version = event.metadata.resource_version.clone().unwrap_or(version);
                    note_event(&views, event);
                }
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Deleted(event) => version = event.metadata.resource_version.unwrap_or(version),
                // Too old, most likely: the next attempt begins with the present.
                WatchEvent::Error(status) => anyhow::bail!("{}", status.message),
            }
        }
    }
}

fn note_event(views: &Views, event: Event) {
    let Some(pod) = event.involved_object.name else { return };
    let Some(name) = names::object_of_pod(&pod) else { return };
    if views.get(name).deployment.is_none() {
        return; // another worker's
    }
    let seen =
        EventView { reason: event.reason.unwrap_or_default(), message: view::cut(&event.message.unwrap_or_default()), pod: pod.clone() };
    views.change(name, |view| view.event = Some(seen));
}
