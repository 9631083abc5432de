//! A docker engine of the test's own: its data, socket and bridge; and images built from Debian packages.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "part of a test")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerConfig, ContainerCreateBody};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, CreateImageOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures::StreamExt;
use tokio::sync::Mutex;

/// An engine that ends with the last test that uses it.
pub struct Engine {
    pub host: String,
    pub docker: Docker,
    bridge: String,
    child: Child,
    _directory: tempfile::TempDir,
}

static BUILDING: Mutex<()> = Mutex::const_new(());
static SHARED: Mutex<Weak<Engine>> = Mutex::const_new(Weak::new());

impl Engine {
    /// The engine, shared by tests that run at the same time; `None`, with the reason on standard output, when this
    /// machine cannot run one.
    pub async fn shared() -> Option<Arc<Engine>> {
        let mut shared = SHARED.lock().await;
        if let Some(engine) = shared.upgrade() {
            return Some(engine);
        }
        match Self::start().await {
            Ok(engine) => {
                let engine = Arc::new(engine);
                *shared = Arc::downgrade(&engine);
                Some(engine)
            }
            Err(reason) => {
                println!("skipped: no docker engine: {reason}");
                None
            }
        }
    }

    async fn start() -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("fogflow-docker-").tempdir().map_err(|error| error.to_string())?;
        // A bridge of its own, with a network that no other run of the tests uses.
        let number = std::process::id() % 200 + 20;
        let bridge = format!("fftest{number}");
        let address = format!("172.30.{number}.1/24");
        for arguments in [
            vec!["link", "add", &bridge, "type", "bridge"],
            vec!["addr", "add", &address, "dev", &bridge],
            vec!["link", "set", &bridge, "up"],
        ] {
            run("ip", &arguments)?;
        }
        let path = |name: &str| directory.path().join(name);
        let host = format!("unix://{}", path("sock").display());
        let log = std::fs::File::create(path("log")).map_err(|error| error.to_string())?;
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .args(["-H", &host, "--bridge", &bridge])
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("dockerd cannot be started ({error}); it is in Debian's package docker.io"));
        let mut child = match child {
            Ok(child) => child,
            Err(reason) => {
                let _ = run("ip", &["link", "del", &bridge]);
                return Err(reason);
            }
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        let docker = loop {
            // Until the socket exists the client cannot even be made.
            let answer = match Docker::connect_with_host(&host) {
                Ok(docker) => docker.negotiate_version().await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(docker) => break docker,
                Err(error) => {
                    if Instant::now() > deadline || child.try_wait().ok().flatten().is_some() {
                        let _ = child.kill();
                        let _ = child.wait();
                        let _ = run("ip", &["link", "del", &bridge]);
                        let text = std::fs::read_to_string(path("log")).unwrap_or_default();
                        return Err(format!("{error}; {}", text.lines().last().unwrap_or_default()));
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        Ok(Engine { host, docker, bridge, child, _directory: directory })
    }

    /// Makes an image: Debian packages, then files on top, then settings such as `ENTRYPOINT [...]`. False, with the
    /// reason on standard output, when packages cannot be had.
    pub async fn image(&self, name: &str, packages: &str, files: &[(&str, String)], changes: &str) -> bool {
        let _one_at_a_time = BUILDING.lock().await;
        if self.docker.inspect_image(name).await.is_ok() {
            return true;
        }
        let base = format!("debian-{packages}:test");
        if self.docker.inspect_image(&base).await.is_err() {
            match root_file_system(packages) {
                Ok(tar) => self.import(&base, &tar).await,
                Err(reason) => {
                    println!("skipped: no root file system with {packages}: {reason}");
                    return false;
                }
            }
        }
        let body = ContainerCreateBody { image: Some(base), cmd: Some(vec!["/none".to_owned()]), ..Default::default() };
        let container = format!("build-{}", name.replace(['/', ':'], "-"));
        let options = CreateContainerOptionsBuilder::new().name(&container).build();
        let id = self.docker.create_container(Some(options), body).await.unwrap().id;
        let overlay = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = overlay.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let tar = Command::new("tar")
            .args(["-C", &overlay.path().display().to_string(), "--owner=0", "--group=0", "--mode=a+rX", "-c", "."])
            .output()
            .unwrap();
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        self.docker.upload_to_container(&id, Some(options), bollard::body_full(tar.stdout.into())).await.unwrap();
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let options = CommitContainerOptionsBuilder::new().container(&id).repo(repository).tag(tag).changes(changes).build();
        self.docker.commit_container(options, ContainerConfig::default()).await.unwrap();
        true
    }

    async fn import(&self, name: &str, tar: &Path) {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let options = CreateImageOptionsBuilder::new().from_src("-").repo(repository).tag(tag).build();
        let body = bollard::body_full(std::fs::read(tar).unwrap().into());
        let mut steps = self.docker.create_image(Some(options), Some(body), None);
        while let Some(step) = steps.next().await {
            step.unwrap();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Asked in order it ends its containers too.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().ok().flatten().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = run("ip", &["link", "del", &self.bridge]);
    }
}

/// A tar of the packages and what they depend on, downloaded once and kept with the build's other files.
fn root_file_system(packages: &str) -> Result<PathBuf, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian").join(packages);
    let tar = directory.join("root.tar");
    if tar.exists() {
        return Ok(tar);
    }
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    // Package managers and perl come as dependencies of maintainer scripts, which do not run here.
    let script = r#"
        set -e
        cd "$1"
        : > empty
        # As on a machine where nothing is installed: an installed package of another source could not be downloaded.
        apt="-o Dir::State::status=$PWD/empty -o APT::Sandbox::User=root"
        names=$(apt-cache $apt depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances $2 |
            grep '^[a-z0-9]' | sort -u | grep -Ev '^(dpkg|tar|perl.*|libperl.*|debconf|cdebconf|install-info|libdebian-installer4|libnewt.*|libslang2|libtextwrap1)$')
        apt-get $apt download $names
        mkdir -p root/tmp root/etc root/proc root/dev
        chmod 1777 root/tmp
        for package in *.deb; do dpkg-deb -x "$package" root; done
        rm -f *.deb
        echo 'task:x:65532:65532::/:/bin/false' > root/etc/passwd
        tar -C root --owner=0 --group=0 -cf root.tar.new .
        rm -rf root
        mv root.tar.new root.tar
    "#;
    run("sh", &["-c", script, "sh", &directory.display().to_string(), packages])?;
    Ok(tar)
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", text.lines().last().unwrap_or_default()))
}
