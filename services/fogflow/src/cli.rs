//! The grammar of the command line, and the way from a command to its exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use fogflow_chassis::{CommonArgs, UsageError};

use crate::commands::{apply, backup, completions, config, delete, docs, get, logs, new, run, status, token};
use crate::node::{self, UpArgs};
use crate::output::{self, Format};
use crate::target::ServerArgs;

const EXAMPLES: &str = "\
Examples:
  fogflow up                                     start a node with the demo
  fogflow status                                 what runs, and whether it is ready
  fogflow new function --lang python hello       make a folder with a function
  fogflow run hello                              register it, show its log and its results
  fogflow apply -f weather.yaml                  register what a file describes
  fogflow get tasks --watch                      follow the tasks
  fogflow logs Task.hello.main.0f3a -f           follow a task's log";

/// FogFlow: context data into running services.
#[derive(Parser)]
#[command(name = "fogflow", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listed {
    /// What tasks run: images, executables, code
    #[value(alias = "operator")]
    Operators,
    /// Graphs of tasks
    #[value(alias = "topology")]
    Topologies,
    /// Fog functions
    #[value(alias = "function", alias = "fogfunctions")]
    Functions,
    /// What users want to run, and its state
    #[value(alias = "intent")]
    Intents,
    /// Task instances, and their state
    #[value(alias = "task")]
    Tasks,
    /// Workers
    #[value(alias = "worker")]
    Workers,
    /// Brokers that are alive
    #[value(alias = "broker")]
    Brokers,
    /// Devices
    #[value(alias = "device")]
    Devices,
    /// Subscriptions that forward to other brokers
    #[value(alias = "subscription")]
    Subscriptions,
    /// Entities of the node's broker
    #[value(alias = "entity")]
    Entities,
}

/// What can be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deletable {
    /// An operator that no topology uses
    #[value(alias = "operators")]
    Operator,
    /// A topology without intents
    #[value(alias = "topologies")]
    Topology,
    /// A fog function; its tasks end
    #[value(alias = "functions", alias = "fogfunction")]
    Function,
    /// An intent; its tasks end
    #[value(alias = "intents")]
    Intent,
    /// A device and its entity
    #[value(alias = "devices")]
    Device,
    /// A subscription that forwards to another broker
    #[value(alias = "subscriptions")]
    Subscription,
    /// An entity
    #[value(alias = "entities")]
    Entity,
}

#[derive(Subcommand)]
enum Command {
    /// Start a node: broker, discovery, designer, master and worker in one process
    Up(UpArgs),
    /// Show what runs, and whether it is ready
    Status {
        #[command(flatten)]
        server: ServerArgs,
        /// How to print
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        /// Print again whenever something changed
        #[arg(short, long)]
        watch: bool,
    },
    /// Register what a file describes: YAML or JSON, several documents, or upstream's db.json
    #[command(after_help = apply::EXAMPLES)]
    Apply {
        /// The file; - is standard input; may be repeated
        #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List, or show one
    Get {
        /// What to list
        #[arg(value_enum)]
        what: Listed,
        /// Only this one
        name: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
        /// How to print
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        /// Print again whenever something changed
        #[arg(short, long)]
        watch: bool,
    },
    /// Delete one
    Delete {
        /// The kind
        #[arg(value_enum)]
        kind: Deletable,
        /// Its name or id; may be several
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show the log of a task
    Logs {
        /// Its id, or a part of it that only one task has
        task: String,
        /// Go on with what is written from now on
        #[arg(short, long)]
        follow: bool,
        /// Begin with this many of the last lines
        #[arg(long, value_name = "N")]
        tail: Option<u32>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Check or show the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Write the state of a running node to a file
    #[command(after_help = "Example: fogflow backup monday.fogflow")]
    Backup(backup::BackupArgs),
    /// Make the state of a stopped node that of a backup, in whatever stores its configuration names
    #[command(after_help = "\
Examples:
  fogflow restore monday.fogflow --data /var/lib/fogflow
  fogflow restore monday.fogflow --set store.engine=postgres --set store.url=postgres://fogflow@db/fogflow")]
    Restore(backup::RestoreArgs),
    /// Make, list and revoke tokens for users
    Token {
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Make a new function
    New {
        #[command(subcommand)]
        what: NewCommand,
    },
    /// Register the function of a folder, then show its log and its results
    Run(run::RunArgs),
    /// Print completions for a shell
    #[command(after_help = "Example: fogflow completions bash > /etc/bash_completion.d/fogflow")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print a page of the documentation
    #[command(hide = true)]
    Docs {
        /// The page
        #[arg(value_enum)]
        page: docs::Page,
    },
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the configuration is valid, and what is odd about it
    Check {
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show the configuration as it takes effect: file, environment and options together; passwords hidden
    Show {
        #[command(flatten)]
        common: CommonArgs,
        /// How to print
        #[arg(short, long, value_enum, default_value_t = Format::Json)]
        output: Format,
    },
}

#[derive(Subcommand)]
enum NewCommand {
    /// A folder with a function of an entity, ready for `fogflow run`
    Function(new::FunctionArgs),
}

/// Parses the command line and runs the command. Exit codes: 0 done, 1 failed, 2 the user can mend it.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Nothing can be done about a closed output.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let outcome = match cli.command {
        Command::Up(args) => return node::up(args),
        Command::Config { command: ConfigCommand::Check { common } } => config::check(&common),
        Command::Config { command: ConfigCommand::Show { common, output } } => config::show(&common, output),
        Command::New { what: NewCommand::Function(args) } => new::function(&args),
        Command::Token { command } => token::run(&command),
        Command::Completions { shell } => completions::print(shell, &mut Cli::command()),
        Command::Docs { page } => docs::print(page, Cli::command()),
        other => in_runtime(other),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Commands that wait for something.
fn in_runtime(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Box::pin(async {
        match command {
            Command::Status { server, output, watch } => status::run(&server.open()?, output, watch).await,
            Command::Apply { files, server } => apply::run(&server.open()?, &files).await,
            Command::Get { what, name, server, output, watch } => get::run(&server.open()?, what, name.as_deref(), output, watch).await,
            Command::Delete { kind, names, server } => delete::run(&server.open()?, kind, &names).await,
            Command::Logs { task, follow, tail, server } => logs::run(&server.open()?, &task, tail, follow).await,
            Command::Run(args) => run::run(&args).await,
            Command::Backup(args) => backup::backup(&args).await,
            Command::Restore(args) => backup::restore(&args).await,
            Command::Up(_)
            | Command::Config { .. }
            | Command::Token { .. }
            | Command::New { .. }
            | Command::Completions { .. }
            | Command::Docs { .. } => Ok(()),
        }
    }))
}

fn fail(error: &anyhow::Error) -> ExitCode {
    // `fogflow get … | head` closes the output early: no reason to complain.
    if error.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)) {
        return ExitCode::SUCCESS;
    }
    output::complain(&format!("fogflow: {error:#}"));
    let is_usage = error.chain().any(|cause| cause.downcast_ref::<UsageError>().is_some());
    ExitCode::from(if is_usage { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_has_no_contradictions() {
        Cli::command().debug_assert();
    }
}
