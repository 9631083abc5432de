//! The docker engine: tasks are containers.
//!
//! A container's name follows from worker and task, so that there cannot be two; its labels tell the next worker whose it
//! is and what it was started with. Containers outlive the worker. They get no capabilities, no new privileges, and limits
//! of memory, processors and processes (parameters `memory`, `cpu`, `pids`).

mod address;
mod image;
mod spec;
mod tar;
mod watch;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectNetworkOptions, ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use fogflow_chassis::Process;
use fogflow_orchestration::TaskState;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use self::address::Addresses;
use self::spec::{Content, FINGERPRINT_LABEL, PORT_LABEL, TASK_LABEL, WORKER_LABEL};
use super::ports::Ports;
use super::{Engine, EngineError, Instance, Launch, LogRange, LogStream, Observed, Owned, Progress, logs};
use crate::files::StateDirectory;
use crate::settings::Settings;

/// Where the engine listens when nothing else is said.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// Between SIGTERM and SIGKILL (seconds).
const GRACE_SECONDS: i32 = 10;
/// Ports that are tried when others took them first.
const PORT_ATTEMPTS: usize = 5;
/// Lines that are kept of a container that is removed.
const KEPT_LINES: usize = 1000;
const LOG_FILE: &str = "output.log";
const CONNECT: Duration = Duration::from_millis(500);

/// Runs tasks as docker containers.
pub struct DockerEngine {
    settings: Arc<Settings>,
    state: Arc<StateDirectory>,
    process: Process,
    /// Filled at the first call that the engine answers, since only then its version is known.
    docker: OnceCell<Docker>,
    addresses: OnceCell<Addresses>,
    ports: Ports,
}

impl DockerEngine {
    /// An engine at `settings.docker_host`. It need not answer yet.
    pub(crate) fn new(settings: Arc<Settings>, state: Arc<StateDirectory>, process: Process) -> Self {
        DockerEngine { settings, state, process, docker: OnceCell::new(), addresses: OnceCell::new(), ports: Ports::default() }
    }

    async fn docker(&self) -> Result<&Docker, EngineError> {
        let connect = || async {
            let host = self.settings.docker_host.as_deref().unwrap_or(DEFAULT_HOST);
            let docker = Docker::connect_with_host(host).map_err(|error| failed(&format!("no docker engine at {host}"), &error))?;
            docker.negotiate_version().await.map_err(|error| failed(&format!("the docker engine at {host} does not answer"), &error))
        };
        self.docker.get_or_try_init(connect).await
    }

    /// The addresses, with the relay to the broker started if one is needed.
    async fn addresses(&self) -> Result<&Addresses, EngineError> {
        let find = || async {
            let network = self.docker().await?.inspect_network("bridge", None::<InspectNetworkOptions>).await;
            let gateway = match network {
                Ok(network) => network
                    .ipam
                    .and_then(|ipam| ipam.config)
                    .into_iter()
                    .flatten()
                    .find_map(|config| config.gateway?.parse::<IpAddr>().ok()),
                Err(error) if is_missing(&error) => None,
                Err(error) => return Err(failed("docker's bridge cannot be looked up", &error)),
            };
            let addresses = address::decide(&self.settings.host, &self.settings.broker_url, gateway);
            if let Some((from, to)) = addresses.relay {
                let process = self.process.clone();
                self.process.tasks.spawn_restarting("worker/broker-relay", move || {
                    address::relay(from, to, process.tasks.clone(), process.shutdown.clone())
                });
            }
            Ok(addresses)
        };
        self.addresses.get_or_try_init(find).await
    }

    fn name(&self, task_id: &str) -> String {
        spec::name(&self.settings.worker_id, task_id)
    }

    async fn inspect(&self, task_id: &str) -> Result<Option<ContainerInspectResponse>, EngineError> {
        match self.docker().await?.inspect_container(&self.name(task_id), None).await {
            Ok(container) => Ok(Some(container)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed("the container cannot be looked up", &error)),
        }
    }

    /// The instance, if this container is what `launch` asks for and runs.
    async fn adopt(&self, launch: &Launch, container: &ContainerInspectResponse) -> Result<Option<Instance>, EngineError> {
        let label = |name: &str| container.config.as_ref()?.labels.as_ref()?.get(name).cloned();
        let runs = container.state.as_ref().and_then(|state| state.running) == Some(true);
        let port = label(PORT_LABEL).and_then(|port| port.parse::<u16>().ok());
        match (port, &container.id) {
            (Some(port), Some(id)) if runs && label(FINGERPRINT_LABEL).as_ref() == Some(&launch.fingerprint) => {
                Ok(Some(self.instance(launch, id, port, true).await?))
            }
            _ => Ok(None),
        }
    }

    async fn instance(&self, launch: &Launch, id: &str, port: u16, adopted: bool) -> Result<Instance, EngineError> {
        let endpoint = spec::endpoint(self.addresses().await?, port);
        Ok(Instance { task_id: launch.task.id.clone(), handle: id.to_owned(), endpoint, adopted })
    }

    /// Creates a container on one port, fills it and starts it. The inner error is the engine's word on a port that another
    /// program has.
    async fn create(&self, launch: &Launch, content: &Content) -> Result<Result<Instance, String>, EngineError> {
        let docker = self.docker().await?;
        let port = self.ports.choose().map_err(|error| EngineError::Failed(format!("no port: {error}")))?;
        let body = spec::container(launch, &self.settings.worker_id, content, self.addresses().await?, port);
        let options = CreateContainerOptionsBuilder::new().name(&self.name(&launch.task.id)).build();
        let id = docker.create_container(Some(options), body).await.map_err(|error| failed("the container cannot be created", &error))?.id;
        if !content.files.is_empty() {
            let entries: Vec<(&str, &[u8])> = content.files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
            let archive = tar::archive(&entries).map_err(|error| EngineError::Failed(error.to_string()))?;
            let options = UploadToContainerOptionsBuilder::new().path("/").build();
            docker
                .upload_to_container(&id, Some(options), bollard::body_full(archive.into()))
                .await
                .map_err(|error| failed("the code cannot be put into the container", &error))?;
        }
        match docker.start_container(&id, None::<StartContainerOptions>).await {
            Ok(()) => Ok(Ok(self.instance(launch, &id, port, false).await?)),
            Err(error) if is_port_taken(&error) => {
                self.remove(&id).await?;
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(failed("the container cannot be started", &error)),
        }
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker().await?.remove_container(container, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) || is_in_progress(&error) => Ok(()),
            Err(error) => Err(failed("the container cannot be removed", &error)),
        }
    }

    async fn fetch(&self, image: &str, launch: Option<&Launch>, progress: Option<Progress<'_>>) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        if image::is_present(docker, image).await? {
            return Ok(());
        }
        if let Some(progress) = progress {
            progress(TaskState::Pulling);
        }
        let never = self.process.shutdown.clone();
        image::pull(docker, image, &self.settings.registry, launch.map_or(&never, |launch| &launch.cancel)).await
    }

    /// Keeps the last lines of a container that goes away, so that a task that keeps failing can still be understood.
    async fn keep_log(&self, docker: &Docker, task_id: &str, container: &str) {
        let directory = self.state.of(task_id);
        if directory.is_dir() {
            let text = watch::last_lines(docker, container, KEPT_LINES).await;
            if let Err(error) = tokio::fs::write(directory.join(LOG_FILE), text).await {
                tracing::debug!(task = task_id, %error, "the last lines of a container are lost");
            }
        }
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn kind(&self) -> &'static str {
        "docker"
    }

    fn languages(&self) -> Vec<String> {
        vec!["python".to_owned(), "javascript".to_owned()]
    }

    fn survives_worker(&self) -> bool {
        true
    }

    async fn ensure(&self, launch: &Launch, progress: Progress<'_>) -> Result<Instance, EngineError> {
        let content = spec::content(&launch.task)?;
        if let Some(container) = self.inspect(&launch.task.id).await? {
            if let Some(instance) = self.adopt(launch, &container).await? {
                return Ok(instance);
            }
            self.stop(&launch.task.id).await?;
        }
        self.fetch(&content.image, Some(launch), Some(progress)).await?;
        progress(TaskState::Starting);
        let mut taken = String::new();
        for _ in 0..PORT_ATTEMPTS {
            if launch.cancel.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            match self.create(launch, &content).await? {
                Ok(instance) => return Ok(instance),
                Err(word) => taken = word,
            }
        }
        Err(EngineError::Failed(format!("a port is taken by another program: {taken}")))
    }

    /// The container's own address is asked first: docker's proxy accepts on the published port long before the task does.
    async fn is_listening(&self, instance: &Instance) -> bool {
        let Some(port) = instance.endpoint.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()) else { return false };
        let Ok(Some(container)) = self.inspect(&instance.task_id).await else { return false };
        let networks = container.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let own = networks.into_values().find_map(|network| network.ip_address?.parse::<IpAddr>().ok());
        match own {
            Some(address) => match answers(SocketAddr::new(address, port)).await {
                Answer::Yes => true,
                Answer::Refused => false,
                Answer::Unreachable => published_answers(&instance.endpoint).await,
            },
            None => published_answers(&instance.endpoint).await,
        }
    }

    fn watch(&self, instance: &Instance) -> BoxStream<'static, Observed> {
        match self.docker.get() {
            Some(docker) => watch::observe(docker.clone(), instance.handle.clone()),
            None => futures::stream::once(async { Observed::Ended("the docker engine was never reached".to_owned()) }).boxed(),
        }
    }

    async fn stop(&self, task_id: &str) -> Result<(), EngineError> {
        let Some(container) = self.inspect(task_id).await? else { return Ok(()) };
        let docker = self.docker().await?;
        let name = self.name(task_id);
        if container.state.and_then(|state| state.running) == Some(true) {
            let options = StopContainerOptionsBuilder::new().t(GRACE_SECONDS).build();
            match docker.stop_container(&name, Some(options)).await {
                Ok(()) => {}
                Err(error) if is_missing(&error) || is_not_modified(&error) => {}
                Err(error) => return Err(failed("the container cannot be stopped", &error)),
            }
        }
        self.keep_log(docker, task_id, &name).await;
        if !self.settings.container_autoremove && self.set_aside(docker, &name).await {
            return Ok(());
        }
        self.remove(&name).await
    }

    async fn list_mine(&self) -> Result<Vec<Owned>, EngineError> {
        let filter = HashMap::from([("label", vec![format!("{WORKER_LABEL}={}", self.settings.worker_id)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
        let containers =
            self.docker().await?.list_containers(Some(options)).await.map_err(|error| failed("containers cannot be listed", &error))?;
        let mine = containers.into_iter().filter_map(|container| {
            let task_id = container.labels?.get(TASK_LABEL)?.clone();
            // Containers that were set aside have another name; they are somebody's to look at, not ours to run.
            let own_name = format!("/{}", self.name(&task_id));
            container.names?.contains(&own_name).then(|| Owned { task_id, handle: container.id.unwrap_or_default() })
        });
        Ok(mine.collect())
    }

    async fn prefetch(&self, image: &str) -> Result<(), EngineError> {
        self.fetch(image, None, None).await
    }

    async fn logs(&self, task_id: &str, range: LogRange) -> Result<LogStream, EngineError> {
        // Between two starts there is no container: then what the last one left.
        let kept = logs::read(self.state.of(task_id).join(LOG_FILE), LogRange { follow: false, ..range });
        if self.inspect(task_id).await?.is_none() {
            return kept.await;
        }
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(range.follow).tail(&range.tail.to_string()).build();
        let mut output = Box::pin(self.docker().await?.logs(&self.name(task_id), Some(options)));
        let first = match output.next().await {
            None => return Ok(futures::stream::empty().boxed()),
            Some(Ok(part)) => part.into_bytes(),
            // Just removed (404), or about to be (409).
            Some(Err(error)) if matches!(status(&error), Some(404 | 409)) => return kept.await,
            Some(Err(error)) => return Err(failed("the log cannot be read", &error)),
        };
        // A log that breaks off later ended with its container.
        let rest = output.take_while(|part| std::future::ready(part.is_ok())).filter_map(|part| std::future::ready(part.ok()));
        let text = futures::stream::once(std::future::ready(first)).chain(rest.map(|part| part.into_bytes()));
        Ok(text.map(Ok::<Bytes, EngineError>).boxed())
    }
}

impl DockerEngine {
    /// With `container_autoremove: false` a stopped container stays, under a name that the next start does not need.
    async fn set_aside(&self, docker: &Docker, name: &str) -> bool {
        let options = bollard::query_parameters::RenameContainerOptionsBuilder::new()
            .name(&format!("{name}-{}", uuid::Uuid::new_v4().simple()))
            .build();
        docker
            .rename_container(name, options)
            .await
            .inspect_err(|error| tracing::warn!(%error, "a stopped container is removed after all"))
            .is_ok()
    }
}

enum Answer {
    Yes,
    Refused,
    Unreachable,
}

async fn answers(address: SocketAddr) -> Answer {
    match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Answer::Yes,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Answer::Refused,
        Ok(Err(_)) | Err(_) => Answer::Unreachable,
    }
}

/// Whether a published port leads to somebody: docker's proxy accepts always, but closes at once when nobody is behind it.
async fn published_answers(endpoint: &str) -> bool {
    let Some(authority) = endpoint.strip_prefix("http://") else { return false };
    let Ok(Ok(mut stream)) = tokio::time::timeout(CONNECT, TcpStream::connect(authority)).await else { return false };
    let mut byte = [0];
    matches!(tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte)).await, Err(_) | Ok(Ok(1..)))
}

fn failed(what: &str, error: &Error) -> EngineError {
    EngineError::Failed(format!("{what}: {}", words(error)))
}

/// What an error says for people: the engine's own message, or the innermost cause.
fn words(error: &Error) -> String {
    if let Error::DockerResponseServerError { message: text, .. } | Error::DockerStreamError { error: text } = error {
        return text.clone();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn is_missing(error: &Error) -> bool {
    status(error) == Some(404)
}

fn is_not_modified(error: &Error) -> bool {
    status(error) == Some(304)
}

fn is_in_progress(error: &Error) -> bool {
    status(error) == Some(409) && error.to_string().contains("already in progress")
}

fn is_port_taken(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("port is already allocated") || text.contains("address already in use")
}
