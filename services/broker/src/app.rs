//! Putting the broker together: open the store, load, spawn the stages, listen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use fogflow_chassis::{
    CancellationToken, Process, Routes, Security, component_client, http_client, open_store, serve, serve_tls, when_there,
};
use fogflow_client::Peers;
use fogflow_config::{Config, Consistency, StoreEngine};
use fogflow_ngsi::Timestamp;
use fogflow_store::SharedStore;
use fogflow_store::follow::Follower;
use futures::FutureExt;
use smol_str::SmolStr;
use tokio::sync::mpsc;

use crate::contexts::Contexts;
use crate::engine::{Engine, Inner};
use crate::face;
use crate::federation::{self, Federation};
use crate::metrics::Metrics;
use crate::notifier::{Notifier, Start, cursor, guard};
use crate::registrar::{Me, Registrar};
use crate::replica::applier::{Applier, COLLECTIONS};
use crate::replica::fresh::{self, Freshness};
use crate::replica::mail::MAIL;
use crate::replica::members::REPLICAS;
use crate::replica::owner::Owner;
use crate::replica::slots::Slots;
use crate::replica::{Line, Parts};
use crate::southbound::Devices;
use crate::state::committer::{Changes, Committer};
use crate::state::{State, load};
use crate::subscription::registry;

/// Batches of changes that may wait for the matcher before writers have to.
const PUBLISHED: usize = 64;

/// A running broker.
#[derive(Clone, Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// `Broker.<site>[.<n>]`
    pub id: String,
    /// The advertised NGSI-10 address.
    pub url: String,
}

/// Starts the broker with the store that the configuration names.
///
/// # Errors
/// [`fogflow_chassis::UsageError`] when a port is taken or another process has the store; otherwise what prevents the start.
pub async fn start(config: Arc<Config>, process: &Process) -> anyhow::Result<Running> {
    let store = open_store(&config, process, "broker", config.broker.durability).await?;
    start_with(config, process, store).await
}

/// Starts the broker with a given store.
///
/// # Errors
/// As [`start`].
pub async fn start_with(config: Arc<Config>, process: &Process, store: SharedStore) -> anyhow::Result<Running> {
    let ready = process.readiness.part("broker state");
    let metrics = Arc::new(Metrics::new(&process.metrics)?);
    let state = Arc::new(State::default());
    // The embedded engine has one process; behind any other there may be replicas of this broker.
    let line =
        (config.store_of("broker").engine != StoreEngine::Embedded).then(|| Line::new(Follower::new(Arc::clone(&store), COLLECTIONS)));
    let slots = Arc::new(if line.is_some() { Slots::shared() } else { Slots::sole() });

    let http = http_client(&config)?;
    let port = free_port(&config)?;
    let me = Me {
        id: config.broker_id(if line.is_some() { "" } else { &config.instance }).into(),
        url: config.broker_url_at(port).into(),
        generation: u64::try_from(Timestamp::now().0).unwrap_or(0),
        location: (config.physical_location.latitude, config.physical_location.longitude),
    };
    let peers = Peers::new(component_client(&config)?, &config.discovery_url());
    let (published, changes) = mpsc::channel(PUBLISHED);
    let (elsewhere, handed) = mpsc::channel(64);
    let (committer, writer) = Committer::new(Arc::clone(&state), Arc::clone(&store), published, Arc::clone(&metrics), line.clone());
    let sender = guard::client()?;
    let base = format!("{}/ngsi-ld/v1/jsonldContexts/", me.url.trim_end_matches("/ngsi10"));
    let contexts = when_there(process, async || {
        Contexts::load(Arc::clone(&store), sender.clone(), base.clone()).await.context("the @contexts cannot be read")
    })
    .await?;
    let contexts = Arc::new(contexts);
    let notifier = Arc::new(Notifier::new(Arc::clone(&state), sender, Arc::clone(&metrics), Arc::clone(&contexts), Arc::clone(&slots)));
    let devices =
        when_there(process, async || Devices::load(Arc::clone(&store), http.clone()).await.context("the devices cannot be read")).await?;
    let devices = Arc::new(devices);
    let registrar = Arc::new(Registrar::new(
        me.clone(),
        Arc::clone(&state),
        Arc::clone(&devices),
        peers.discovery().clone(),
        elsewhere,
        Arc::clone(&metrics),
    ));
    let federation = Arc::new(Federation::new(federation::Parts {
        me: me.clone(),
        peers,
        state: Arc::clone(&state),
        writer: writer.clone(),
        registrar: Arc::clone(&registrar),
        metrics: Arc::clone(&metrics),
    }));
    let begun = Instant::now();
    let replica = match line.clone() {
        None => {
            load::load(&store, &state).await.context("the entities cannot be read")?;
            resume(&store, &state, &notifier, &federation, &me.id).await.context("the subscriptions cannot be read")?;
            None
        }
        Some(line) => {
            let parts = Parts {
                state: Arc::clone(&state),
                notifier: Arc::clone(&notifier),
                federation: Arc::clone(&federation),
                registrar: Arc::clone(&registrar),
                slots: Arc::clone(&slots),
                members: Arc::default(),
            };
            let mut applier = Applier::new(parts.clone(), Arc::clone(&contexts), Arc::clone(&devices));
            when_there(process, async || line.load(&mut applier).await.context("the state cannot be read")).await?;
            notifier.begin(line.applied());
            let owner = Owner::new(line, parts, Arc::clone(&metrics));
            Some((applier, owner))
        }
    };
    tracing::info!(entities = state.len(), seconds = begun.elapsed().as_secs_f32(), "the state is loaded");
    let engine = Engine::new(Inner {
        config: config.broker.clone(),
        state,
        writer,
        store: Arc::clone(&store),
        notifier: Arc::clone(&notifier),
        federation: Arc::clone(&federation),
        registrar: Arc::clone(&registrar),
        devices,
        metrics,
        contexts,
        slots,
        line: line.clone(),
    });

    let stop = || process.shutdown.clone().cancelled_owned();
    let tasks = &process.tasks;
    let router = router(&config, &engine, &store, line.as_ref(), process)?;
    let addr = serve(process, "broker", SocketAddr::new(config.listen_ip(), port), router.clone()).await?;
    serve_tls(process, "broker", SocketAddr::new(config.listen_ip(), config.broker.https_port), router, &config).await?;
    // At the end: first nobody writes any more, then what is on its way to subscribers arrives, then the last cursors are
    // stored and what other replicas can take is free, then the store is closed.
    let (committed, sent) = (CancellationToken::new(), CancellationToken::new());
    let (stopped, done) = (stop(), committed.clone().drop_guard());
    tasks.spawn_critical("broker committer", async move {
        let _done = done;
        committer.run(stopped).await
    });
    tasks.spawn_critical("broker publisher", publish(changes, Arc::clone(&notifier), Arc::clone(&registrar), stop()));
    let sending = Arc::clone(&notifier);
    match (line, replica) {
        (Some(line), Some((mut applier, owner))) => {
            let (stopped, done) = (committed.clone(), sent.clone().drop_guard());
            tasks.spawn_critical("broker leases", async move {
                let _done = done;
                owner.run(stopped.cancelled()).await
            });
            let stopped = sent.clone();
            tasks.spawn_critical("broker notifier", async move { sending.run(stopped.cancelled()).await });
            tasks.spawn_critical("broker follower", async move {
                line.run(&mut applier, sent.cancelled()).await.context("the changes of other replicas cannot be applied")?;
                committed.cancelled().await;
                store.close().await.context("the store cannot be closed")
            });
        }
        _ => {
            let (stopped, done) = (committed.clone(), sent.clone().drop_guard());
            tasks.spawn_critical("broker notifier", async move {
                let _done = done;
                let last = Arc::clone(&sending);
                sending.run(async move { stopped.cancelled().then(|()| last.drained()).await }).await
            });
            let process_id = me.id.to_string();
            tasks.spawn_critical("broker cursors", async move {
                cursor::keep(notifier, Arc::clone(&store), process_id, sent.cancelled()).await?;
                committed.cancelled().await;
                store.close().await.context("the store cannot be closed")
            });
        }
    }
    tasks.spawn_critical("broker registrar", Arc::clone(&registrar).run(stop()));
    tasks.spawn_critical("broker heartbeat", registrar.beat(config.broker_heartbeat(), stop()));
    tasks.spawn_critical("broker remote subscriptions", Arc::clone(&federation).settle_all(stop()));
    tasks.spawn_critical("broker handover", federation.hand_over(handed, stop()));
    tasks.spawn_critical("broker tidying", engine.tidy(stop()));
    ready.ready();
    Ok(Running { addr, id: me.id.to_string(), url: me.url.to_string() })
}

fn router(config: &Config, engine: &Engine, store: &SharedStore, line: Option<&Line>, process: &Process) -> anyhow::Result<axum::Router> {
    let security = Security::from_config(config)?;
    let routes: Routes<Engine> = face::v1::routes(config.broker.max_body_bytes)
        .merge(face::v2::routes(config.broker.max_body_bytes))
        .merge(face::ld::routes(config.broker.max_body_bytes))
        .merge(face::peer::routes().body_limit(64 * 1024 * 1024).errors(face::v1::error))
        .store_export(store, &[cursor::CURSORS, REPLICAS, MAIL], process);
    let router = routes.build(engine.clone(), process, &security);
    let Some(line) = line else { return Ok(router) };
    let strong = config.broker.consistency == Consistency::Strong;
    let freshness = Freshness { line: strong.then(|| Arc::clone(line)) };
    Ok(router.layer(axum::middleware::from_fn_with_state(freshness, fresh::before)))
}

/// The port to listen on: our own address must be known before the first request.
fn free_port(config: &Config) -> anyhow::Result<u16> {
    match config.broker.http_port {
        0 => Ok(std::net::TcpListener::bind((config.listen_ip(), 0))?.local_addr()?.port()),
        port => Ok(port),
    }
}

/// Takes up the subscriptions where they were, and publishes what nobody has been told yet.
async fn resume(store: &SharedStore, state: &State, notifier: &Notifier, federation: &Federation, process: &SmolStr) -> anyhow::Result<()> {
    let cursors = cursor::load(store, process).await?;
    let head = cursors.as_ref().map_or(0, |cursors| cursors.head);
    for (subscription, stored) in registry::load(store).await? {
        let filter = match subscription.filter() {
            Ok(filter) => filter,
            Err(why) => {
                tracing::error!(subscription = %subscription.id, %why, "a stored subscription cannot be used");
                continue;
            }
        };
        let behind = cursors.as_ref().map_or(Some(0), |cursors| cursors.of(&subscription.tenant, &subscription.id, stored));
        let start = behind.map_or(Start::From(head), Start::After);
        notifier.add(Arc::clone(&subscription), filter, start, stored);
        if !subscription.internal {
            federation.watch(&subscription);
        }
    }
    if !notifier.is_empty() && cursors.is_some() {
        notifier.publish(&cursor::missed(store, state, head).await?);
    }
    notifier.resume(store.head().await?);
    Ok(())
}

/// Matches committed changes and marks them for registration, in the order in which they were committed.
async fn publish(
    mut changes: mpsc::Receiver<Changes>,
    notifier: Arc<Notifier>,
    registrar: Arc<Registrar>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    tokio::pin!(stop);
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            batch = changes.recv() => match batch {
                Some(batch) => {
                    notifier.publish(&batch);
                    registrar.note(&batch);
                }
                // The committer has ended.
                None => return Ok(()),
            },
            () = &mut stop, if !stopping => stopping = true,
        }
    }
}
