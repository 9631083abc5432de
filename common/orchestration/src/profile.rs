//! How workers and masters describe themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A place on earth in degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// Degrees north.
    #[serde(default)]
    pub latitude: f64,
    /// Degrees east.
    #[serde(default)]
    pub longitude: f64,
}

impl Location {
    /// Upstream writes an unknown place as (0, 0).
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.latitude != 0.0 || self.longitude != 0.0
    }
}

/// Payload of `WORKER_JOIN`, `WORKER_HEARTBEAT` and `WORKER_LEAVE`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerProfile {
    /// `Worker.<site>[.<n>]`
    pub id: String,
    /// `physical_location`
    #[serde(default)]
    pub location: Location,
    /// Never filled by upstream.
    #[serde(default)]
    pub geohash_id: String,
    /// For example `linux`.
    #[serde(default)]
    pub os: String,
    /// In Go's words: `amd64`, `arm`, `arm64`.
    #[serde(default)]
    pub hardware: String,
    /// How many tasks it may have.
    #[serde(default)]
    pub capacity: u32,
    /// How many tasks it has.
    #[serde(default)]
    pub workload: u32,
    /// Always 0.
    #[serde(default, rename = "CAdvisorPort")]
    pub cadvisor_port: u16,
    /// Always empty.
    #[serde(default, rename = "EdgeAddress")]
    pub edge_address: String,
    /// Set by whoever receives the profile; RFC 3339.
    #[serde(default = "never", rename = "Last_Heartbeat_Update")]
    pub last_heartbeat_update: String,
    /// The engine that runs its tasks: `process`, `docker`, `kubernetes`. Empty from upstream, which means a container engine.
    #[serde(default, rename = "Engine", skip_serializing_if = "String::is_empty")]
    pub engine: String,
    /// Languages of inline code that it can run.
    #[serde(default, rename = "Languages", skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Base URL of its HTTP interface (`worker.http_port`), where logs of its tasks are read.
    #[serde(default, rename = "Url", skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Seconds between its heartbeats; upstream beats every 10 s.
    #[serde(default, rename = "HeartbeatSeconds", skip_serializing_if = "Option::is_none")]
    pub heartbeat_seconds: Option<u32>,
    /// Random per start of the worker process; tells a restart from a pause.
    #[serde(default, rename = "Incarnation", skip_serializing_if = "String::is_empty")]
    pub incarnation: String,
}

fn never() -> String {
    "0001-01-01T00:00:00Z".to_owned()
}

/// Payload of `MASTER_JOIN` and `MASTER_LEAVE`, and the reply of `GET /status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MasterProfile {
    /// `Master.<site>`
    pub id: String,
    /// `physical_location`
    #[serde(default)]
    pub location: Location,
    /// Base URL of its NGSI agent.
    #[serde(default)]
    pub agent: String,
}
