//! `fogflow-bench`: load for NGSI brokers.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use fogflow_bench::api::Api;
use fogflow_bench::http::Target;
use fogflow_bench::scenario::{self, Setting};
use fogflow_bench::{reference, report};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load generator for NGSI brokers: v1, v2 and LD, by URL. Prints one JSON object per run.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The yardstick: a bare axum server that parses JSON and answers
    Reference {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:9099")]
        listen: SocketAddr,
        /// A database (libpq URL) into which it writes the entity of each v1 update before it answers
        #[arg(long)]
        postgres: Option<String>,
    },
    /// Update existing entities of five attributes
    Update(Common),
    /// Get entities by id
    Get(Common),
    /// Send to the yardstick at --url what `update` or `get` sends to a broker
    Yardstick {
        #[command(flatten)]
        common: Common,
        /// Bytes to be answered: the `answer_size` of the broker's run
        #[arg(long)]
        answer_size: usize,
        /// The requests of `get` instead of those of `update`
        #[arg(long)]
        get: bool,
    },
    /// Update with one subscriber, at full and half load
    Deliver {
        #[command(flatten)]
        common: Common,
        /// The address at which the broker reaches this machine
        #[arg(long, default_value = "127.0.0.1")]
        sink_host: String,
    },
    /// Make subscriptions that do not match
    SubscribeIdle {
        #[command(flatten)]
        common: Common,
        /// How many
        #[arg(long, default_value_t = 100_000)]
        count: usize,
    },
    /// Let entities appear at a whole node, one by one, and time their tasks
    Appear {
        /// The designer
        #[arg(long, default_value = "http://127.0.0.1:8080")]
        designer: String,
        /// The broker
        #[arg(long, default_value = "http://127.0.0.1:8070")]
        broker: String,
        /// The worker
        #[arg(long, default_value = "http://127.0.0.1:8020")]
        worker: String,
        /// Tasks that run already
        #[arg(long, default_value_t = 0)]
        present: usize,
        /// Entities to time
        #[arg(long, default_value_t = 200)]
        count: usize,
    },
    /// Write at one replica and read at another, beside a steady load
    Across {
        #[command(flatten)]
        common: Common,
        /// The replica that is read
        #[arg(long)]
        other: String,
        /// Updates a second of the load
        #[arg(long)]
        rate: f64,
    },
    /// Create entities
    Fill {
        #[command(flatten)]
        common: Common,
        /// How many
        #[arg(long, default_value_t = 1_000_000)]
        count: usize,
    },
}

#[derive(Args)]
struct Common {
    /// The broker, for example http://127.0.0.1:8070
    #[arg(long)]
    url: String,
    /// Its interface
    #[arg(long, value_enum, default_value = "v1")]
    api: Api,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Number of the first entity, so that several generators update different ones
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// How long to load
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Entities that the load is spread over
    #[arg(long, default_value_t = 32)]
    entities: usize,
    /// The server's process id, to read the processor time that it uses
    #[arg(long)]
    pid: Option<u32>,
}

impl Common {
    fn setting(&self) -> anyhow::Result<Setting> {
        anyhow::ensure!(
            self.seconds > 0.0 && self.connections > 0 && self.entities > 0,
            "--seconds, --connections and --entities must be above 0"
        );
        Ok(Setting {
            target: Target::parse(&self.url)?,
            api: self.api,
            connections: self.connections,
            duration: Duration::from_secs_f64(self.seconds),
            first: self.first,
            entities: self.entities,
            server: self.pid,
        })
    }
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Command::Reference { listen, postgres } = cli.command {
        return tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(reference::serve(listen, postgres.as_deref()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, execute(cli.command))
}

async fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Reference { .. } => Ok(()),
        Command::Update(common) => report::print(&scenario::update(&common.setting()?).await?),
        Command::Get(common) => report::print(&scenario::get(&common.setting()?).await?),
        Command::Yardstick { common, answer_size, get } => {
            report::print(&scenario::reference(&common.setting()?, !get, answer_size).await?)
        }
        Command::Deliver { common, sink_host } => report::print(&scenario::deliver(&common.setting()?, &sink_host).await?),
        Command::SubscribeIdle { common, count } => report::print(&scenario::subscribe_idle(&common.setting()?, count).await?),
        Command::Appear { designer, broker, worker, present, count } => report::print(
            &scenario::appear(&Target::parse(&designer)?, &Target::parse(&broker)?, &Target::parse(&worker)?, present, count).await?,
        ),
        Command::Across { common, other, rate } => {
            report::print(&scenario::across(&common.setting()?, &Target::parse(&other)?, rate).await?)
        }
        Command::Fill { common, count } => report::print(&scenario::fill(&common.setting()?, count).await?),
    }
}
