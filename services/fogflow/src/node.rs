//! `fogflow up`: the five services in one process.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use fogflow_bus::SharedBus;
use fogflow_bus::inprocess::InProcessBus;
use fogflow_chassis::{CommonArgs, Process, UsageError, load_config, open_bus};
use fogflow_config::{BusEngine, Config};

use crate::demo;
use crate::output::{self, print};

#[derive(Args)]
#[command(after_help = "\
Examples:
  fogflow up                                      a node on this machine, state in ./data, with the demo
  fogflow up --no-demo --data /var/lib/fogflow    an empty node
  fogflow up --set my_hostip=192.0.2.7            a node that others can reach
  fogflow up -f edge.json                         with coreservice_ip: broker and worker of an edge")]
pub(crate) struct UpArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Neither data nor function of the demo
    #[arg(long)]
    no_demo: bool,
    /// How many days of the demo's measurements are replayed in a second
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    demo_speed: f64,
}

/// Runs a node until a signal.
pub(crate) fn up(args: UpArgs) -> ExitCode {
    let loaded = load_config(&args.common).and_then(|loaded| {
        let speed =
            demo::Speed::new(args.demo_speed).ok_or_else(|| UsageError("--demo-speed: from 0.001 to 1000 days a second".to_owned()))?;
        Ok((loaded, (!args.no_demo).then_some(speed)))
    });
    match loaded {
        Ok((loaded, demo)) => fogflow_chassis::run("fogflow", loaded, async move |config, process| start(config, process, demo).await),
        Err(error) => {
            output::complain(&format!("fogflow: {error:#}"));
            ExitCode::from(2)
        }
    }
}

async fn start(config: Arc<Config>, process: Process, demo: Option<demo::Speed>) -> anyhow::Result<()> {
    let edge = is_edge(&config);
    if edge {
        start_edge(&config, &process).await?
    } else {
        start_all(&config, &process).await?
    }
    let mut addresses = vec![("site", format!("{}, state in {}", config.site_id, config.data_dir.display()))];
    addresses.push(("broker", format!("{}  (also /v2 and /ngsi-ld/v1)", config.broker_url())));
    addresses.push(("worker", config.worker_url()));
    addresses.push(("discovery", config.discovery_url()));
    if !edge {
        addresses.push(("master", config.master_url()));
    }
    addresses.push(("page", format!("{}/index.html", config.designer_url())));
    if let Some(speed) = demo.filter(|_| !edge) {
        let child = process.child("demo");
        addresses.push(("demo", demo::start(&config, &child, speed)?));
    }
    let mut text = format!("FogFlow {}\n", fogflow_chassis::VERSION);
    for (name, address) in addresses {
        text.push_str(&format!("  {name:<10} {address}\n"));
    }
    // A closed output is no reason not to run.
    let _ = print(&text);
    Ok(())
}

/// All five, those first that the others speak to: each would wait for them by itself, but then the first task would start a second later.
async fn start_all(config: &Arc<Config>, process: &Process) -> anyhow::Result<()> {
    let buses = Buses::new(config, BusEngine::Inprocess);
    let (discovery, broker) = (process.child("discovery"), process.child("broker"));
    tokio::try_join!(
        Box::pin(fogflow_discovery::start(Arc::clone(config), &discovery)),
        Box::pin(fogflow_broker::start(Arc::clone(config), &broker)),
    )?;
    let (designer, master, worker) = (process.child("designer"), process.child("master"), process.child("worker"));
    let bus = buses.open(&designer, "designer").await?;
    fogflow_designer::start(Arc::clone(config), &designer, bus).await?;
    let bus = buses.open(&master, &config.master_id()).await?;
    fogflow_master::start(Arc::clone(config), &master, bus).await?;
    let bus = buses.open(&worker, &config.worker_id(&config.instance)).await?;
    fogflow_worker::start(Arc::clone(config), &worker, bus).await?;
    Ok(())
}

/// Broker and worker near the devices; everything else is at `coreservice_ip`.
async fn start_edge(config: &Arc<Config>, process: &Process) -> anyhow::Result<()> {
    let (broker, worker) = (process.child("broker"), process.child("worker"));
    let bus = Buses::new(config, BusEngine::Rabbitmq).open(&worker, &config.worker_id(&config.instance)).await?;
    tokio::try_join!(
        Box::pin(fogflow_broker::start(Arc::clone(config), &broker)),
        Box::pin(fogflow_worker::start(Arc::clone(config), &worker, bus)),
    )?;
    Ok(())
}

/// A node whose core services are elsewhere has a broker and a worker.
pub(crate) fn is_edge(config: &Config) -> bool {
    !config.coreservice_ip.is_empty() && config.coreservice_ip != config.my_hostip
}

/// One bus for all services in the process, or a connection to RabbitMQ for each.
enum Buses<'a> {
    Shared(SharedBus),
    Amqp(&'a Config),
}

impl<'a> Buses<'a> {
    fn new(config: &'a Config, default: BusEngine) -> Self {
        match config.bus.engine.unwrap_or(default) {
            BusEngine::Rabbitmq => Buses::Amqp(config),
            BusEngine::Inprocess => Buses::Shared(Arc::new(InProcessBus::new())),
        }
    }

    async fn open(&self, process: &Process, component: &str) -> anyhow::Result<SharedBus> {
        match self {
            Buses::Shared(bus) => Ok(Arc::clone(bus)),
            Buses::Amqp(config) => open_bus(config, process, component, BusEngine::Rabbitmq).await,
        }
    }
}
