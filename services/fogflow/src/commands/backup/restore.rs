//! `fogflow restore`: the archive of a backup becomes the state of a node that does not run, in whatever engines its
//! configuration names.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use fogflow_chassis::{CommonArgs, UsageError, http_client, load_config, store_settings};
use fogflow_client::Endpoint;
use fogflow_config::{Config, Durability, StoreEngine};
use fogflow_store::{SharedStore, StoreError, portable};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::archive::Archive;
use super::{PHOTO, SERVICES, base_url, file_of, plain};
use crate::output::print;

/// A service that runs answers sooner.
const PROBE: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// The file to read
    from: PathBuf,
    #[command(flatten)]
    common: CommonArgs,
    /// Delete what is stored now
    #[arg(long)]
    force: bool,
}

/// Checks the whole archive, then opens all stores, and only then writes.
pub(crate) async fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let config = load_config(&args.common)?.config;
    let from = args.from.clone();
    let archive = tokio::task::spawn_blocking(move || Archive::open(&from)).await??;
    let stores = open_all(&config, &archive).await?;
    let outcome = write_all(&config, &archive, &stores, args.force).await;
    for store in stores.values() {
        store.close().await?;
    }
    Ok(print(&format!("{}site {}, {}\n", outcome?, archive.label.site, archive.label.made))?)
}

async fn open_all(config: &Config, archive: &Archive) -> anyhow::Result<BTreeMap<&'static str, SharedStore>> {
    let http = http_client(config)?;
    let mut stores = BTreeMap::new();
    for service in SERVICES.into_iter().filter(|service| archive.parts.contains_key(&file_of(service))) {
        // A directory is locked by whoever has it open; a server is not.
        if config.store_of(service).engine != StoreEngine::Embedded {
            let endpoint = Endpoint::new(http.clone(), &base_url(config, service)).with_timeout(PROBE);
            let runs = endpoint.ready().await.is_ok();
            ensure!(!runs, UsageError(format!("the {service} runs at {}: stop the node first", endpoint.base())));
        }
        let store = match fogflow_store::open(&store_settings(config, service, Durability::Fsync)).await {
            Ok(store) => store,
            Err(StoreError::InUse(place)) => return Err(UsageError(format!("{place} is in use: stop the node first")).into()),
            Err(error) => return Err(error).with_context(|| format!("the store of the {service} cannot be opened")),
        };
        stores.insert(service, store);
    }
    Ok(stores)
}

async fn write_all(config: &Config, archive: &Archive, stores: &BTreeMap<&str, SharedStore>, force: bool) -> anyhow::Result<String> {
    if !force {
        for (service, store) in stores {
            let empty = portable::is_empty(&**store).await?;
            ensure!(empty, UsageError(format!("the store of the {service} is not empty; --force deletes what it holds")));
        }
    }
    let mut summary = String::new();
    for (service, store) in stores {
        let count = write(archive, service, &**store, force).await;
        let count = count.with_context(|| format!("the {service} is restored in part only: try again with --force"))?;
        summary.push_str(&format!("{service:<10} {count:>10} documents\n"));
    }
    let pictures = photos(config, archive).context("the pictures are restored in part only: try again with --force")?;
    if pictures > 0 {
        summary.push_str(&format!("{:<10} {pictures:>10}\n", "pictures"));
    }
    Ok(summary)
}

async fn write(archive: &Archive, service: &str, store: &dyn fogflow_store::Store, force: bool) -> anyhow::Result<u64> {
    if force {
        portable::clear(store).await?;
    }
    let part = archive.read(&file_of(service))?;
    let (length, mut file) = (part.limit(), part.into_inner());
    let position = io::Seek::stream_position(&mut file)?;
    let mut file = tokio::fs::File::from_std(file);
    file.seek(io::SeekFrom::Start(position)).await?;
    let mut text = tokio::io::BufReader::new(file.take(length));
    Ok(portable::import(store, &mut text).await?.lines)
}

fn photos(config: &Config, archive: &Archive) -> anyhow::Result<usize> {
    let folder = config.service_dir("designer").join("photo");
    let mut count = 0;
    for part in archive.parts.keys() {
        let Some(name) = part.strip_prefix(PHOTO) else { continue };
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let target = folder.join(plain(name)?);
        let mut file = fs::File::create(&target).with_context(|| target.display().to_string())?;
        io::copy(&mut archive.read(part)?, &mut file).with_context(|| target.display().to_string())?;
        file.sync_all()?;
        count += 1;
    }
    Ok(count)
}
