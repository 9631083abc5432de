//! The Kubernetes engine: tasks are pods.
//!
//! ```text
//! ensure ─> manifests (spec, pod, policy: pure) ─server-side apply─> API server
//!                                                                      │ watches, pruned to a few words per task (view)
//! task's actor <─ Observed <─ differences of status (pure) <───────────┘
//! ```
//!
//! A task is a Deployment of one pod and a Service, so that Kubernetes itself restarts it and moves it off a lost node;
//! the worker follows and tells. Names follow from worker and task, so that nothing can be there twice; labels and
//! annotations tell the next worker whose an object is and what it was made from; what the worker must remember beside that
//! is in ConfigMaps ([`records`]). Of several replicas of a worker one is active ([`lease`]).
//!
//! What it needs to be allowed is in `docs/operators.md`.

mod client;
mod lease;
mod logs;
mod names;
mod observe;
mod pod;
mod policy;
mod records;
mod spec;
mod status;
mod view;
mod watch;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use fogflow_chassis::{Process, UsageError};
use fogflow_config::{TaskEndpoint, bracketed};
use fogflow_orchestration::PodSettings;
use futures::stream::BoxStream;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PropagationPolicy};
use kube::core::ApiResource;
use kube::{Api, Resource};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::client::{Calls, Cluster, is_missing};
use self::lease::Leadership;
use self::names::FIELD_MANAGER;
use self::records::ClusterRecords;
use self::spec::{Manifests, Site};
use self::view::{View, Views};
use super::{Engine, EngineError, Instance, Launch, LogRange, LogStream, Observed, Owned, Progress};
use crate::records::Records;
use crate::settings::Settings;

/// How far the watches may be behind what was applied.
const BEHIND: Duration = Duration::from_secs(15);
/// How long the end of a pod is waited for: its grace and some. A pod on a lost node does not end before its node returns.
const ENDING: Duration = Duration::from_secs(20);
/// Tasks that are made at a time: each holds its manifests meanwhile.
const STARTS: usize = 32;
/// One answer to "does it listen".
const LISTENING: Duration = Duration::from_secs(1);

/// Runs tasks as pods of the cluster that the worker is in, or that `KUBECONFIG` names.
pub struct KubernetesEngine {
    cluster: Cluster,
    calls: Arc<Calls>,
    site: Arc<Site>,
    views: Arc<Views>,
    /// Whether the views hold all that is there; set once this replica is active.
    synced: OnceLock<tokio::sync::watch::Receiver<bool>>,
    owner: Arc<OnceLock<Value>>,
    process: Process,
    leadership: Leadership,
    starts: Semaphore,
    retired: CancellationToken,
}

impl KubernetesEngine {
    /// An engine for the cluster. That the cluster answers is not tried yet.
    ///
    /// # Errors
    /// [`UsageError`] when no cluster is configured, or `worker.kubernetes.pod` cannot be read.
    pub(crate) async fn new(settings: &Settings, process: &Process) -> anyhow::Result<Self> {
        let config = settings.kubernetes.clone();
        let pod: PodSettings = match config.pod.clone() {
            Some(value) => serde_json::from_value(value).map_err(|error| UsageError(format!("worker.kubernetes.pod: {error}")))?,
            None => PodSettings::default(),
        };
        let cluster = client::connect(settings.kubeconfig.as_deref())
            .await
            .map_err(|error| UsageError(format!("worker.container_management is kubernetes, but there is no cluster: {error:#}")))?;
        let namespace = if settings.app_namespace.is_empty() { cluster.own_namespace.clone() } else { settings.app_namespace.clone() };
        let calls = Arc::new(Calls::new(config.requests_per_second));
        let owner = Arc::default();
        let leadership = Leadership {
            api: Api::namespaced(cluster.client.clone(), &namespace),
            name: names::worker_object(&settings.worker_id),
            identity: identity(),
            length: Duration::from_secs(config.lease_seconds.into()),
            owner: Arc::clone(&owner),
        };
        let site = Site {
            worker_id: settings.worker_id.clone(),
            broker_url: spec::broker_for_pods(&settings.broker_url, &cluster.own_namespace, &namespace),
            own_namespace: cluster.own_namespace.clone(),
            namespace,
            config,
            pod,
        };
        Ok(KubernetesEngine {
            cluster,
            calls,
            site: Arc::new(site),
            views: Arc::default(),
            synced: OnceLock::new(),
            owner,
            process: process.clone(),
            leadership,
            starts: Semaphore::new(STARTS),
            retired: CancellationToken::new(),
        })
    }

    /// Where this engine's worker remembers its tasks.
    pub(crate) fn records(&self) -> Arc<dyn Records> {
        let api: Api<ConfigMap> = self.api();
        Arc::new(ClusterRecords::new(api, Arc::clone(&self.calls), self.site.worker_id.clone(), Arc::clone(&self.owner)))
    }

    fn api<K: Resource<Scope = kube::core::NamespaceResourceScope>>(&self) -> Api<K>
    where
        K::DynamicType: Default,
    {
        Api::namespaced(self.cluster.client.clone(), &self.site.namespace)
    }

    fn name(&self, task_id: &str) -> String {
        names::object_name(&self.site.worker_id, task_id)
    }

    async fn apply(&self, manifest: &Value, owner: Option<&Value>) -> Result<DynamicObject, EngineError> {
        let mut manifest = manifest.clone();
        if let Some(owner) = owner {
            manifest["metadata"]["ownerReferences"] = json!([owner]);
        }
        let kind = manifest["kind"].as_str().unwrap_or_default();
        let resource = match kind {
            "Deployment" => ApiResource::erase::<Deployment>(&()),
            "Service" => ApiResource::erase::<Service>(&()),
            "NetworkPolicy" => ApiResource::erase::<NetworkPolicy>(&()),
            _ => ApiResource::erase::<ConfigMap>(&()),
        };
        let api = Api::<DynamicObject>::namespaced_with(self.cluster.client.clone(), &self.site.namespace, &resource);
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&manifest);
        self.calls.make(&format!("its {kind} cannot be made"), || api.patch(name, &parameters, &patch)).await
    }

    /// Applies all objects of a task. The Deployment goes first when it is new, since the others belong to it, and else
    /// after what its pod needs.
    async fn apply_all(&self, manifests: &Manifests, present: Option<String>, cancel: &CancellationToken) -> Result<(), EngineError> {
        let is_new = present.is_none();
        let mut uid = present.unwrap_or_default();
        if is_new {
            uid = self.apply(&manifests.deployment, self.owner.get()).await?.metadata.uid.unwrap_or_default();
        }
        let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": manifests.name, "uid": uid});
        for dependent in &manifests.dependents {
            self.apply(dependent, Some(&owner)).await?;
        }
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        if !is_new {
            self.apply(&manifests.deployment, self.owner.get()).await?;
        }
        self.apply(&manifests.service, Some(&owner)).await.map(drop)
    }

    /// Waits until the watches show a state of a task.
    async fn wait_for(&self, name: &str, limit: Duration, is_met: impl FnMut(&View) -> bool + Send) -> Option<View> {
        let mut view = self.views.follow(name);
        let met = tokio::time::timeout(limit, view.wait_for(is_met)).await;
        met.ok()?.ok().map(|view| view.clone())
    }

    async fn endpoint(&self, name: &str) -> Result<String, EngineError> {
        if self.site.config.endpoint == TaskEndpoint::Dns {
            return Ok(spec::dns_endpoint(&self.site, name));
        }
        let api: Api<Service> = self.api();
        let service = self.calls.make("its Service cannot be looked up", || api.get(name)).await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
        Ok(format!("http://{}:{}", bracketed(&address), self.site.config.task_port))
    }

    /// The Deployment that the worker's objects belong to, if one is configured.
    async fn find_owner(&self) -> Result<(), EngineError> {
        let name = &self.site.config.owner;
        if name.is_empty() {
            return Ok(());
        }
        let api: Api<Deployment> = self.api();
        let what = format!("worker.kubernetes.owner {name} cannot be looked up");
        let uid = self.calls.make(&what, || api.get_metadata(name)).await?.metadata.uid.unwrap_or_default();
        let _ = self.owner.set(json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid}));
        Ok(())
    }
}

/// Unique among replicas, and among starts of one pod's container.
fn identity() -> String {
    let pod = ["POD_NAME", "HOSTNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    format!("{}_{}", pod.unwrap_or_else(|| "worker".to_owned()), uuid::Uuid::new_v4())
}

#[async_trait]
impl Engine for KubernetesEngine {
    fn kind(&self) -> &'static str {
        "kubernetes"
    }

    fn languages(&self) -> Vec<String> {
        vec!["python".to_owned(), "javascript".to_owned()]
    }

    fn survives_worker(&self) -> bool {
        true
    }

    fn has_standbys(&self) -> bool {
        true
    }

    async fn activate(&self) -> Result<(), EngineError> {
        self.leadership.acquire().await;
        tracing::info!(lease = self.leadership.name, identity = self.leadership.identity, "this replica is active");
        let (leadership, retired) = (self.leadership.clone(), self.retired.clone());
        self.process.tasks.spawn_critical("worker/lease", async move { leadership.keep(retired).await });
        self.find_owner().await?;
        if self.site.config.network_policy.enabled {
            self.apply(&policy::of_worker(&self.site), self.owner.get()).await?;
        }
        let mut synced = watch::start(&self.process, &self.cluster.client, &self.site.namespace, &self.site.worker_id, &self.views);
        let _ = self.synced.set(synced.clone());
        let _ = synced.wait_for(|synced| *synced).await;
        Ok(())
    }

    fn retire(&self) {
        self.retired.cancel();
    }

    async fn ensure(&self, launch: &Launch, _progress: Progress<'_>) -> Result<Instance, EngineError> {
        let _place = tokio::select! {
            place = self.starts.acquire() => place, // never closed
            () = launch.cancel.cancelled() => return Err(EngineError::Cancelled),
        };
        let manifests = spec::manifests(&launch.task, &self.site)?;
        let name = &manifests.name;
        let is_made = |view: &View| {
            view.deployment.as_ref().is_some_and(|deployment| deployment.hash == manifests.hash)
                && view.service.as_ref() == Some(&manifests.hash)
        };
        let mut view = self.views.get(name);
        let adopted = is_made(&view);
        if !adopted {
            let present = view.deployment.map(|deployment| deployment.uid);
            self.apply_all(&manifests, present, &launch.cancel).await?;
            view = self
                .wait_for(name, BEHIND, is_made)
                .await
                .ok_or_else(|| EngineError::Failed("what was applied is not seen in the cluster".to_owned()))?;
        }
        let handle = status::status(&view).and_then(|status| status.run).unwrap_or_default();
        Ok(Instance { task_id: launch.task.id.clone(), handle, endpoint: self.endpoint(name).await?, adopted })
    }

    async fn is_listening(&self, instance: &Instance) -> bool {
        let name = self.name(&instance.task_id);
        self.wait_for(&name, LISTENING, |view| observe::is_listening(view, &instance.handle)).await.is_some()
    }

    fn watch(&self, instance: &Instance) -> BoxStream<'static, Observed> {
        observe::changes(self.views.follow(&self.name(&instance.task_id)), instance.clone())
    }

    async fn stop(&self, task_id: &str) -> Result<(), EngineError> {
        let name = self.name(task_id);
        let api: Api<Deployment> = self.api();
        let parameters = DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
        let delete = || async {
            match api.delete(&name, &parameters).await {
                Err(error) if is_missing(&error) => Ok(()),
                outcome => outcome.map(drop),
            }
        };
        self.calls.make("its Deployment cannot be deleted", delete).await?;
        let is_gone = |view: &View| view.deployment.is_none() && view.pods.is_empty();
        let gone = tokio::select! {
            // It ends without the worker.
            () = self.process.shutdown.cancelled() => return Ok(()),
            gone = self.wait_for(&name, ENDING, is_gone) => gone,
        };
        if gone.is_none() {
            let pods: Vec<String> = self.views.get(&name).pods.into_iter().map(|(pod, view)| format!("{pod} on {}", view.node)).collect();
            tracing::warn!(task = task_id, ?pods, "its pod does not end; the node may be lost");
        }
        self.views.tidy(&name);
        Ok(())
    }

    async fn list_mine(&self) -> Result<Vec<Owned>, EngineError> {
        if !self.synced.get().is_some_and(|synced| *synced.borrow()) {
            return Err(EngineError::Failed("the cluster has not been seen yet".to_owned()));
        }
        let owned = self.views.deployments().into_iter().filter(|(task_id, _)| !task_id.is_empty());
        Ok(owned.map(|(task_id, handle)| Owned { task_id, handle }).collect())
    }

    /// Which node will need an image is the scheduler's to say, so there is nowhere to fetch it to.
    async fn prefetch(&self, _image: &str) -> Result<(), EngineError> {
        Err(EngineError::Unrunnable("images are not fetched in advance on Kubernetes: the scheduler chooses the node".to_owned()))
    }

    async fn logs(&self, task_id: &str, range: LogRange) -> Result<LogStream, EngineError> {
        let api: Api<Pod> = self.api();
        logs::read(api, &self.calls, self.views.follow(&self.name(task_id)), range).await
    }
}
