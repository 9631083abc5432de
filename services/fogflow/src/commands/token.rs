//! `fogflow token`: tokens for users, in the file that the services of this node read.

use clap::{Args, Subcommand, ValueEnum};
use fogflow_chassis::{CommonArgs, Role, TokenFile, UsageError, load_config};
use fogflow_config::Authentication;

use crate::output::{complain, print};

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it; it is kept as a hash, so nobody can show it again
    #[command(after_help = "Example: fogflow token create alice --role operator")]
    Create(CreateArgs),
    /// List names and roles
    List {
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Make a token worthless, within a second or so
    Revoke {
        /// Its name
        name: String,
        #[command(flatten)]
        common: CommonArgs,
    },
}

#[derive(Args)]
pub(crate) struct CreateArgs {
    /// Whose it is; a token of the same name is replaced
    name: String,
    /// What its holder may do
    #[arg(long, value_enum)]
    role: RoleName,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    /// Read
    Viewer,
    /// Read, and change what runs; not bring code
    Operator,
    /// Everything
    Admin,
    /// What components ask of each other
    Component,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Role::Viewer,
            RoleName::Operator => Role::Operator,
            RoleName::Admin => Role::Admin,
            RoleName::Component => Role::Component,
        }
    }
}

pub(crate) fn run(command: &TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(CreateArgs { name, role, common }) => {
            let config = load_config(common)?.config;
            let text = TokenFile::open(&config)?.create(name, (*role).into())?;
            if config.security.authentication == Authentication::Off {
                complain("note: security.authentication is off, so that nobody needs a token");
            }
            Ok(print(&format!("{text}\n"))?)
        }
        TokenCommand::List { common } => {
            let file = TokenFile::open(&load_config(common)?.config)?;
            let lines = file.tokens.iter().map(|(name, token)| format!("{name:<20} {}\n", format!("{:?}", token.role).to_lowercase()));
            Ok(print(&lines.collect::<String>())?)
        }
        TokenCommand::Revoke { name, common } => {
            if TokenFile::open(&load_config(common)?.config)?.revoke(name)? {
                return Ok(());
            }
            Err(UsageError(format!("there is no token {name}")).into())
        }
    }
}
