//! The main of a service: command line, configuration, logs, signals, shutdown, exit code.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser};
use fogflow_config::{Config, Loaded};
use tokio::signal::unix::{SignalKind, signal};

use crate::errors::UsageError;
use crate::process::Process;
use crate::{logs, process_metrics, tls};

/// How long tasks may take to end after a signal. Listeners cut hanging connections after 10 s.
const GRACE: Duration = Duration::from_secs(15);
/// Used when `-f` is not given and the file exists.
const DEFAULT_FILE: &str = "config.json";

/// Options that every command which needs a configuration has.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonArgs {
    /// Configuration file [default: config.json in the working directory, if there is one]
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Instance id, for several equal processes of one site
    #[arg(short = 'i', long = "instance", value_name = "ID", default_value = "")]
    pub instance: String,
    /// Sets one key, for example --set worker.capacity=4; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Directory of all state
    #[arg(long = "data", value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Parser)]
#[command(version, about = "A service of FogFlow")]
struct ServiceArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Check the configuration and end
    #[arg(long)]
    check_config: bool,
}

/// Loads the configuration that the options, the environment and the file make.
///
/// # Errors
/// [`UsageError`] with one line that names what is wrong.
pub fn load_config(args: &CommonArgs) -> anyhow::Result<Loaded> {
    let default = Path::new(DEFAULT_FILE);
    let path = args.file.as_deref().or_else(|| default.is_file().then_some(default));
    let mut loaded = Config::load(path, std::env::vars(), &args.set).map_err(|error| UsageError(error.to_string()))?;
    if let Some(data) = &args.data {
        loaded.config.data_dir.clone_from(data);
    }
    if !args.instance.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Err(UsageError(format!("-i {:?}: only letters, digits, '-' and '_'", args.instance)).into());
    }
    loaded.config.instance.clone_from(&args.instance);
    Ok(loaded)
}

/// Runs a service from its command line to its exit code: 0 after a signal, 1 when something failed, 2 when the user can
/// mend it (options, configuration, ports).
pub fn main(name: &'static str, start: impl AsyncFnOnce(Arc<Config>, Process) -> anyhow::Result<()>) -> ExitCode {
    let args = match ServiceArgs::command().name(name).try_get_matches().and_then(|matches| ServiceArgs::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Nothing can be done about a closed output.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let loaded = match load_config(&args.common) {
        Ok(loaded) => loaded,
        Err(error) => return report(name, &error),
    };
    if args.check_config {
        let mut text: String = loaded.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
        text.push_str("the configuration is valid\n");
        // Nothing can be done about a closed output.
        let _ = std::io::stdout().write_all(text.as_bytes());
        return ExitCode::SUCCESS;
    }
    run(name, loaded, start)
}

/// Runs a service with a loaded configuration: runtime, logs, signals, drain. Returns the exit code.
pub fn run(name: &'static str, loaded: Loaded, start: impl AsyncFnOnce(Arc<Config>, Process) -> anyhow::Result<()>) -> ExitCode {
    process_metrics::mark_start();
    small_pages();
    tls::install_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(name, &anyhow::Error::new(error).context("the runtime cannot start")),
    };
    let code = runtime.block_on(Box::pin(live(name, loaded, start)));
    // Blocking calls that hang (a dead disk) must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// Keeps the kernel from backing the heap with huge pages: of 2 MiB at a time, an idle node would hold 19 MiB that it does
/// not use. Holds for the processes that this one starts, too.
fn small_pages() {
    // Where the kernel does not allow it the process is larger, no more.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

async fn live(name: &'static str, loaded: Loaded, start: impl AsyncFnOnce(Arc<Config>, Process) -> anyhow::Result<()>) -> ExitCode {
    let Loaded { config, warnings } = loaded;
    let _logs = logs::init(&config, name);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let process = Process::new(name);
    if let Err(error) = watch_signals(&process) {
        return report(name, &error);
    }
    tracing::info!(service = name, version = crate::VERSION, site = %config.site_id, data = %config.data_dir.display(), "starting");
    let started = tokio::select! {
        outcome = start(Arc::new(config), process.clone()) => outcome,
        // A signal before the start is complete, or a critical task that failed meanwhile.
        () = process.shutdown.cancelled() => Ok(()),
    };
    if let Err(error) = started {
        process.shutdown.cancel();
        process.tasks.drain(Duration::from_secs(2)).await;
        return report(name, &error);
    }
    process.shutdown.cancelled().await;
    let drained = process.tasks.drain(GRACE).await;
    if !drained.unfinished.is_empty() {
        tracing::warn!(tasks = ?drained.unfinished, "tasks did not end in time and were cut off");
    }
    match process.tasks.failure() {
        None => {
            tracing::info!(service = name, "ended");
            ExitCode::SUCCESS
        }
        Some(reason) => {
            complain(&format!("{name}: {reason}"));
            ExitCode::FAILURE
        }
    }
}

/// TERM and INT ask for an orderly end; a second one ends at once.
fn watch_signals(process: &Process) -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let shutdown = process.shutdown.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if first {
                tracing::info!("asked to end");
                shutdown.cancel();
            } else {
                std::process::exit(130);
            }
        }
    });
    Ok(())
}

/// One line for the user, and the exit code: 2 when the user can mend it.
fn report(name: &str, error: &anyhow::Error) -> ExitCode {
    if let Some(usage) = error.chain().find_map(|cause| cause.downcast_ref::<UsageError>()) {
        complain(&format!("{name}: {usage}"));
        return ExitCode::from(2);
    }
    complain(&format!("{name}: {error:#}"));
    ExitCode::FAILURE
}

/// Unlike `eprintln!` it does not panic when the output is closed.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
