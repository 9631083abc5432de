//! `fogflow backup`: the state of a running node as one archive; [`restore()`] makes it the state of another.
//!
//! Every service hands out its own store, whatever the engine, as it was after one of its commits. The parts are taken one
//! after the other, what follows from something before what it follows from: what a restored service then misses it is told
//! or makes again, and nothing refers to what is not there. The worker's directory is left out: what ran when the backup was
//! made does not run where it is restored.

mod archive;
mod restore;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use fogflow_chassis::{CommonArgs, UsageError, http_client, load_config};
use fogflow_client::{DesignerClient, Endpoint};
use fogflow_config::Config;
use fogflow_store::portable::{self, Portable};
use futures::{StreamExt as _, TryStreamExt as _};

use self::archive::Draft;
pub(crate) use self::restore::{RestoreArgs, restore};
use crate::node::is_edge;
use crate::output::print;
use crate::target::admin_token;

/// A service that sends nothing for so long sends nothing any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// The last line of an export is shorter.
const LAST_LINE: usize = 256;

/// Services with a store, in the order in which they are asked.
const SERVICES: [&str; 4] = ["master", "discovery", "broker", "designer"];
/// What goes before the name of a picture.
const PHOTO: &str = "photo/";

#[derive(Args)]
pub(crate) struct BackupArgs {
    /// The file to write
    to: PathBuf,
    #[command(flatten)]
    common: CommonArgs,
    /// Admin token [default: that in the data directory]
    #[arg(long, value_name = "TOKEN", env = "FOGFLOW_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Asks every service of the configuration for its state and writes the archive. It appears under its name when it is complete.
pub(crate) async fn backup(args: &BackupArgs) -> anyhow::Result<()> {
    let config = load_config(&args.common)?.config;
    let http = http_client(&config)?;
    let token = args.token.clone().or_else(|| admin_token(&config));
    let mut draft = Draft::create(&args.to, &config.site_id)?;
    let mut summary = String::new();
    for service in services(&config) {
        let base = base_url(&config, service);
        let endpoint = Endpoint::new(http.clone(), &base).with_token(token.clone());
        let part = store(&endpoint, service, &mut draft).await.with_context(|| format!("the {service} cannot be backed up"))?;
        summary.push_str(&format!("{service:<10} {:>10} documents, as after commit {}\n", part.lines, part.sequence));
        if service == "designer" {
            let pictures = photos(&DesignerClient::new(endpoint), &mut draft).await.context("the pictures cannot be backed up")?;
            summary.push_str(&format!("{:<10} {pictures:>10}\n", "pictures"));
        }
    }
    let bytes = draft.finish()?;
    Ok(print(&format!("{summary}{}: {bytes} bytes\n", args.to.display()))?)
}

/// Which services of this configuration are this node's: an edge has a broker only.
fn services(config: &Config) -> impl Iterator<Item = &'static str> {
    let edge = is_edge(config);
    SERVICES.into_iter().filter(move |service| !edge || *service == "broker")
}

fn base_url(config: &Config, service: &str) -> String {
    let url = match service {
        "broker" => config.broker_url(),
        "discovery" => config.discovery_url(),
        "master" => config.master_url(),
        _ => config.designer_url(),
    };
    url.trim_end_matches("/ngsi10").trim_end_matches("/ngsi9").to_owned()
}

fn file_of(service: &str) -> String {
    format!("{service}.jsonl")
}

async fn store(endpoint: &Endpoint, service: &str, draft: &mut Draft) -> anyhow::Result<Portable> {
    let mut text = endpoint.export().await?;
    let mut part = draft.part(&file_of(service))?;
    let mut last = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, text.next()).await {
            Ok(Some(bytes)) => {
                let bytes = bytes?;
                part.write(&bytes)?;
                last.extend_from_slice(&bytes[bytes.len().saturating_sub(LAST_LINE)..]);
                last.drain(..last.len().saturating_sub(LAST_LINE));
            }
            Ok(None) => break,
            Err(_) => bail!("it sent nothing for {PATIENCE:?}"),
        }
    }
    let whole = portable::last_line(&last).context("its answer was cut off")?;
    part.end(Some(whole))?;
    Ok(whole)
}

async fn photos(designer: &DesignerClient, draft: &mut Draft) -> anyhow::Result<usize> {
    let names = designer.photos().await?;
    for name in &names {
        let mut bytes = designer.photo(name).await?;
        let mut part = draft.part(&format!("{PHOTO}{name}"))?;
        while let Some(bytes) = bytes.try_next().await? {
            part.write(&bytes)?;
        }
        part.end(None)?;
    }
    Ok(names.len())
}

/// A file name that stays within its directory.
fn plain(name: &str) -> Result<&Path, UsageError> {
    let path = Path::new(name);
    match path.components().collect::<Vec<_>>().as_slice() {
        [std::path::Component::Normal(_)] => Ok(path),
        _ => Err(UsageError(format!("{name:?} is no name of a picture"))),
    }
}
