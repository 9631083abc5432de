//! Tasks as pods of a real cluster: the one that `KUBECONFIG` names. It needs the image of Python tasks
//! (`fogflow/task-python:latest`, or the one that `FOGFLOW_TEST_TASK_IMAGE` names) on its nodes, has to reach this machine, and
//! has to take a token (rustls refuses client certificates of X.509 version 1). Everything happens in a namespace of its own, in which the restricted Pod Security Standard is enforced.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod support;

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fogflow_config::{ContainerManagement, TaskEndpoint};
use fogflow_orchestration::{PodSettings, ScheduledTaskInstance, TaskState};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, ResourceQuota, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{AuthInfo, Kubeconfig};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use support::broker::FakeBroker;
use support::{World, eventually, parameter, python, task};

/// A namespace of the cluster.
struct Cluster {
    client: Client,
    namespace: String,
    /// This machine, as pods reach it.
    host: IpAddr,
    files: tempfile::TempDir,
}

/// What docs/operators.md says that a worker needs; the tests' workers have no more.
fn rules() -> Value {
    json!([
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch", "create", "patch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create", "patch", "delete"]},
        {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["create", "patch"]},
    ])
}

impl Cluster {
    /// The cluster with a fresh namespace; `None`, with a line that says so, when there is none.
    async fn get(test: &str) -> Option<Self> {
        if std::env::var_os("KUBECONFIG").is_none() {
            eprintln!("SKIPPED {test}: KUBECONFIG names no cluster");
            return None;
        }
        // Chooses the process's TLS provider, as the worker does.
        support::client();
        let config = kube::Config::infer().await.unwrap();
        let server = config.cluster_url.host().unwrap().to_owned();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((server.as_str(), config.cluster_url.port_u16().unwrap_or(443))).unwrap();
        let host = socket.local_addr().unwrap().ip();
        let client = Client::try_from(config).unwrap();
        let namespace = format!("fogflow-test-{}", uuid::Uuid::new_v4().simple());
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let body = serde_json::from_value(json!({"metadata": {"name": namespace, "labels": labels}})).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &body).await.unwrap();
        let cluster = Cluster { client, namespace, host, files: tempfile::tempdir().unwrap() };
        cluster.make_account().await;
        Some(cluster)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.files.path().join("kubeconfig")
    }

    /// A service account that may do what a worker needs, and a kubeconfig for it.
    async fn make_account(&self) {
        let named = || json!({"name": "worker"});
        let subjects = json!([{"kind": "ServiceAccount", "name": "worker", "namespace": self.namespace}]);
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "worker"});
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": named()})).unwrap();
        let rights: Role = serde_json::from_value(json!({"metadata": named(), "rules": rules()})).unwrap();
        let binding: RoleBinding = serde_json::from_value(json!({"metadata": named(), "roleRef": role, "subjects": subjects})).unwrap();
        let parameters = PostParams::default();
        self.api().create(&parameters, &account).await.unwrap();
        self.api().create(&parameters, &rights).await.unwrap();
        self.api().create(&parameters, &binding).await.unwrap();
        let request = serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 3600}})).unwrap();
        let token = self.api::<ServiceAccount>().create_token_request("worker", &parameters, &request).await.unwrap();
        let file = self.files.path().join("token");
        std::fs::write(&file, token.status.unwrap().token).unwrap();
        let mut kubeconfig = Kubeconfig::read().unwrap();
        for user in &mut kubeconfig.auth_infos {
            user.auth_info = Some(AuthInfo { token_file: Some(file.display().to_string()), ..AuthInfo::default() });
        }
        for context in &mut kubeconfig.contexts {
            context.context.as_mut().unwrap().namespace = Some(self.namespace.clone());
        }
        std::fs::write(self.kubeconfig(), serde_json::to_string(&kubeconfig).unwrap()).unwrap();
    }

    fn api<K: kube::Resource<Scope = kube::core::NamespaceResourceScope>>(&self) -> Api<K>
    where
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn world(&self, change: impl FnOnce(&mut fogflow_worker::settings::Settings)) -> World {
        let broker = FakeBroker::start_at("0.0.0.0:0").await;
        let url = format!("http://{}:{}/ngsi10", self.host, broker.address.port());
        let (namespace, host, kubeconfig) = (self.namespace.clone(), self.host, self.kubeconfig());
        World::with_broker(broker, |settings| {
            settings.engine = ContainerManagement::Kubernetes;
            settings.app_namespace = namespace;
            settings.kubeconfig = Some(kubeconfig);
            settings.broker_url = url;
            settings.restart = fogflow_worker::RestartPolicy::default();
            let kubernetes = &mut settings.kubernetes;
            kubernetes.image_pull_policy = "IfNotPresent".to_owned();
            kubernetes.endpoint = TaskEndpoint::Ip;
            kubernetes.network_policy.broker_cidrs = vec![format!("{host}/32")];
            if let Ok(image) = std::env::var("FOGFLOW_TEST_TASK_IMAGE") {
                kubernetes.code_image_python = image;
            }
            change(settings);
        })
        .await
    }

    async fn pods(&self) -> Vec<Pod> {
        self.api::<Pod>().list(&ListParams::default()).await.unwrap().items
    }

    async fn remove(self) {
        let api: Api<Namespace> = Api::all(self.client);
        api.delete(&self.namespace, &DeleteParams::default()).await.unwrap();
    }
}

/// Waits for an answer of the API server, at most 60 s.
async fn until<T, F: Future<Output = Result<T, String>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match check().await {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => panic!("not within 60 s: {what}; last seen: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Tells the one task with an input of a temperature. As a broker does, again when it is not reached: the nodes may not know
/// yet where its Service leads.
async fn notify(world: &World, temperature: f64) {
    until("the task takes a notification", || async {
        let subscriptions = world.broker.until_subscribed(&["Device.1"]).await;
        let subscription = subscriptions.into_values().next().unwrap();
        match world.broker.try_notify(&subscription, "Device.1", temperature).await {
            Ok(200) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Tells a task of a temperature, as its broker would, and waits until it has published the same.
async fn works(world: &World, task: &ScheduledTaskInstance, temperature: f64) {
    notify(world, temperature).await;
    let output = &task.outputs[0].stream_id;
    eventually(&format!("{output} is {temperature}"), || {
        let updates = world.broker.updated("UPDATE");
        let is_it =
            |element: &Value| element["entityId"]["id"] == **output && element["attributes"][0]["value"].as_f64() == Some(temperature);
        if updates.iter().any(is_it) { Ok(()) } else { Err(format!("{updates:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_becomes_a_pod_works_survives_its_worker_is_healed_and_leaves_nothing() {
    let Some(cluster) = Cluster::get("kubernetes_cluster lifecycle").await else { return };
    let mut world = cluster.world(|_| {}).await;
    let wanted = python("Task.k.main.1");
    world.add(&wanted).await;
    let update = world.until(&wanted.id, TaskState::Running).await;
    assert!(update.endpoint.starts_with("http://"), "{update:?}");
    works(&world, &wanted, 47.25).await;

    // The log is the pod's.
    let (status, text) = world.get(&format!("/tasks/{}/logs?tail=50", wanted.id)).await;
    assert_eq!(status, 200, "{text}");

    // Another worker, on another disk, takes it up as it is.
    let before = cluster.pods().await;
    world.terminate().await;
    world.forget_directory();
    world.again().await;
    world.until(&wanted.id, TaskState::Running).await;
    let after = cluster.pods().await;
    assert_eq!(before[0].uid(), after[0].uid());
    assert_eq!(world.broker.subscriptions().len(), 1, "inputs are subscribed once");

    // A pod that is killed is replaced by Kubernetes; its inputs are subscribed anew.
    let subscription = world.broker.subscriptions().into_keys().next().unwrap();
    cluster.api::<Pod>().delete(&after[0].name_any(), &DeleteParams::default()).await.unwrap();
    eventually("the new pod's inputs are subscribed", || {
        let present = world.broker.subscriptions();
        if present.len() == 1 && !present.contains_key(&subscription) { Ok(()) } else { Err(format!("{present:?}")) }
    })
    .await;
    let update = world.until(&wanted.id, TaskState::Running).await;
    assert_eq!(update.restarts, 1, "{update:?}");
    works(&world, &wanted, 48.5).await;

    world.remove(&wanted).await;
    world.until(&wanted.id, TaskState::Removed).await;
    until("nothing is left", || async {
        let left = [
            cluster.api::<Deployment>().list(&ListParams::default()).await.unwrap().items.len(),
            cluster.api::<Service>().list(&ListParams::default()).await.unwrap().items.len(),
            cluster
                .api::<ConfigMap>()
                .list(&ListParams::default().labels("app.kubernetes.io/managed-by=fogflow-worker"))
                .await
                .unwrap()
                .items
                .len(),
            cluster.pods().await.len(),
        ];
        if left == [0; 4] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    world.terminate().await;
    cluster.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_pod_from_running_is_the_reason_of_its_task() {
    let Some(cluster) = Cluster::get("kubernetes_cluster reasons").await else { return };
    let world = cluster.world(|_| {}).await;
    let image = world.settings.kubernetes.code_image_python.clone();
    let settings = |value: Value| Some(serde_json::from_value::<PodSettings>(value).unwrap());

    let unknown = ScheduledTaskInstance { docker_image: "registry.invalid/none:1".to_owned(), ..task("Task.k.image.1") };
    let nowhere = ScheduledTaskInstance { kubernetes: settings(json!({"nodeSelector": {"no-such": "node"}})), ..python("Task.k.node.1") };
    let crashing = ScheduledTaskInstance { code: None, docker_image: image.clone(), ..python("Task.k.crash.1") };
    let mut crashing = ScheduledTaskInstance { parameters: vec![parameter("x", "y")], ..crashing };
    crashing.function_code = String::new();
    crashing.kubernetes = settings(json!({"env": [{"name": "PYTHONHOME", "value": "/nowhere"}]}));
    let hungry = ScheduledTaskInstance {
        code: Some(fogflow_orchestration::Code {
            language: "python".to_owned(),
            source: "x = bytearray(200 << 20)\ndef handleEntity(entity, publish):\n    pass\n".to_owned(),
        }),
        parameters: vec![parameter("memory", "48Mi")],
        ..python("Task.k.memory.1")
    };
    let privileged = ScheduledTaskInstance { parameters: vec![parameter("capabilities", "SYS_ADMIN")], ..python("Task.k.admission.1") };
    for wanted in [&unknown, &nowhere, &crashing, &hungry, &privileged] {
        world.add(wanted).await;
    }
    for (wanted, words) in [
        (&unknown, &["ErrImagePull", "ImagePullBackOff"][..]),
        (&nowhere, &["Unschedulable"]),
        (&crashing, &["CrashLoopBackOff"]),
        (&hungry, &["OOMKilled"]),
        (&privileged, &["violates PodSecurity"]),
    ] {
        eventually(&format!("{} fails because of {words:?}", wanted.id), || {
            let reports = world.reports(&wanted.id);
            let found =
                reports.iter().any(|update| update.status == TaskState::Failed && words.iter().any(|word| update.reason.contains(word)));
            if found { Ok(()) } else { Err(format!("{:?}", reports.last())) }
        })
        .await;
        world.remove(wanted).await;
    }

    // A quota that leaves no pod.
    let quota = serde_json::from_value(json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})).unwrap();
    cluster.api::<ResourceQuota>().create(&PostParams::default(), &quota).await.unwrap();
    until("the quota is in force", || async {
        let quota = cluster.api::<ResourceQuota>().get("none").await.unwrap();
        if quota.status.is_some_and(|status| status.hard.is_some()) { Ok(()) } else { Err("no status".to_owned()) }
    })
    .await;
    let refused = python("Task.k.quota.1");
    world.add(&refused).await;
    let update = world.until(&refused.id, TaskState::Failed).await;
    assert!(update.reason.contains("exceeded quota"), "{update:?}");
    world.terminate().await;
    cluster.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_and_a_tainted_node_takes_only_tasks_that_tolerate_it() {
    let Some(cluster) = Cluster::get("kubernetes_cluster standby").await else { return };
    let world = cluster.world(|settings| settings.kubernetes.lease_seconds = 6).await;
    let wanted = python("Task.k.main.2");
    world.add(&wanted).await;
    world.until(&wanted.id, TaskState::Running).await;
    let before = cluster.pods().await;

    let standby = tempfile::tempdir().unwrap();
    let mut settings = world.settings.clone();
    settings.directory = standby.path().to_owned();
    let second = fogflow_chassis::Process::new("standby");
    fogflow_worker::start_with(&world.config, settings, &second, std::sync::Arc::clone(&world.bus)).await.unwrap();
    // Dead without a word: the standby has to wait until the lease has ended.
    world.heard.lock().clear();
    world.crash().await;
    let began = Instant::now();
    world.until(&wanted.id, TaskState::Running).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let after = cluster.pods().await;
    assert_eq!((before.len(), before[0].uid()), (after.len(), after[0].uid()), "the task runs on, once");

    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let names: Vec<String> = nodes.list(&ListParams::default()).await.unwrap().items.iter().map(ResourceExt::name_any).collect();
    let taint = |value: Value| Patch::Merge(json!({"spec": {"taints": value}}));
    for name in &names {
        nodes.patch(name, &PatchParams::default(), &taint(json!([{"key": "fogflow-test", "effect": "NoSchedule"}]))).await.unwrap();
    }
    let kept_out = python("Task.k.taint.1");
    let toleration = json!({"tolerations": [{"key": "fogflow-test", "operator": "Exists"}]});
    let tolerant = ScheduledTaskInstance { kubernetes: Some(serde_json::from_value(toleration).unwrap()), ..python("Task.k.taint.2") };
    world.add(&kept_out).await;
    world.add(&tolerant).await;
    world.until(&tolerant.id, TaskState::Running).await;
    let update = world.until(&kept_out.id, TaskState::Failed).await;
    for name in &names {
        nodes.patch(name, &PatchParams::default(), &taint(json!(null))).await.unwrap();
    }
    assert!(update.reason.contains("Unschedulable") && update.reason.contains("taint"), "{update:?}");
    world.until(&kept_out.id, TaskState::Running).await;
    second.shutdown.cancel();
    second.tasks.drain(Duration::from_secs(15)).await;
    cluster.remove().await;
}

/// Tells which of the addresses in its parameter `targets` it can connect to.
const PROBE: &str = r#"
import os, socket

def state(target):
    host, port = target.rsplit(":", 1)
    try:
        address = socket.gethostbyname(host)
    except OSError as error:
        return "unknown"
    try:
        socket.create_connection((address, int(port)), 2).close()
        return "open"
    except OSError:
        return "closed"

def handleEntity(entity, publish):
    publish({"attributes": {"found": ",".join(state(target) for target in os.environ["FOGFLOW_PARAM_targets"].split(","))}})
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_reaches_its_broker_and_dns_but_no_other_task_and_not_the_api_server() {
    let Some(cluster) = Cluster::get("kubernetes_cluster policy").await else { return };
    let world = cluster.world(|_| {}).await;
    let other = ScheduledTaskInstance { inputs: Vec::new(), ..python("Task.k.other.1") };
    world.add(&other).await;
    world.until(&other.id, TaskState::Running).await;
    let service = cluster.api::<Service>().list(&ListParams::default()).await.unwrap().items[0].name_any();
    let targets = format!("{service}.{}.svc:8080,kubernetes.default.svc:443", cluster.namespace);
    let code = fogflow_orchestration::Code { language: "python".to_owned(), source: PROBE.to_owned() };
    let probe = ScheduledTaskInstance { code: Some(code), parameters: vec![parameter("targets", &targets)], ..task("Task.k.probe.1") };
    world.add(&probe).await;
    world.until(&probe.id, TaskState::Running).await;
    notify(&world, 1.0).await;
    let published = world.broker.until_published(&probe.outputs[0].stream_id).await;
    assert_eq!(published["found"], "closed,closed", "names are resolved, connections are not made");
    world.terminate().await;
    cluster.remove().await;
}
