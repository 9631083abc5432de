//! Who is reached where: the address rules of upstream, in one place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::sections::{Config, StoreConfig};

impl Config {
    /// `http(s)://host:port/ngsi9`; host is `discovery.host_ip`, `coreservice_ip` or `my_hostip`.
    #[must_use]
    pub fn discovery_url(&self) -> String {
        let host = first(&[&self.discovery.host_ip, &self.coreservice_ip, &self.my_hostip]);
        self.node_url(host, self.discovery.http_port, self.discovery.https_port, "/ngsi9")
    }

    /// The advertised address of this node's broker, `http(s)://host:port/ngsi10`. It is the only spelling: registrations,
    /// tasks and lists all carry it.
    #[must_use]
    pub fn broker_url(&self) -> String {
        self.broker_url_at(self.broker.http_port)
    }

    /// The broker's plain listener, which stays open beside TLS: for workers and their tasks, which have no certificates.
    #[must_use]
    pub fn plain_broker_url(&self) -> String {
        let host = first(&[&self.broker.host_ip, &self.external_ip, &self.my_hostip]);
        format!("http://{}:{}/ngsi10", bracketed(host), self.broker.http_port)
    }

    /// [`Config::broker_url`] for a broker that was given another port by the system (configured port 0).
    #[must_use]
    pub fn broker_url_at(&self, http_port: u16) -> String {
        let host = first(&[&self.broker.host_ip, &self.external_ip, &self.my_hostip]);
        self.node_url(host, http_port, self.broker.https_port, "/ngsi10")
    }

    /// Where the designer's pages and registry are, `http://host:port`.
    #[must_use]
    pub fn designer_url(&self) -> String {
        plain_url(first(&[&self.designer.host_ip, &self.coreservice_ip, &self.my_hostip]), self.designer.web_srv_port)
    }

    /// Where brokers send notifications for browsers, `http://host:port`.
    #[must_use]
    pub fn designer_agent_url(&self) -> String {
        plain_url(first(&[&self.designer.host_ip, &self.my_hostip]), self.designer.agent_port)
    }

    /// Where discovery sends availability notifications for the master, `http://host:port`.
    #[must_use]
    pub fn master_agent_url(&self) -> String {
        plain_url(first(&[&self.master.host_ip, &self.external_ip, &self.my_hostip]), self.master.ngsi_agent_port)
    }

    /// The master's REST interface, `http://host:port`.
    #[must_use]
    pub fn master_url(&self) -> String {
        plain_url(first(&[&self.master.host_ip, &self.external_ip, &self.my_hostip]), self.master.rest_api_port)
    }

    /// This worker's HTTP interface, `http://host:port`.
    #[must_use]
    pub fn worker_url(&self) -> String {
        self.worker_url_at(self.worker.http_port)
    }

    /// [`Config::worker_url`] for a worker that was given another port by the system (configured port 0).
    #[must_use]
    pub fn worker_url_at(&self, http_port: u16) -> String {
        plain_url(first(&[&self.worker.host_ip, &self.external_ip, &self.my_hostip]), http_port)
    }

    /// The edge controller of a `mec` worker, `http://host:port`.
    #[must_use]
    pub fn edge_controller_url(&self) -> String {
        plain_url(first(&[&self.external_ip, &self.my_hostip]), self.worker.edge_controller_port)
    }

    /// `amqp(s)://user:password@host:port/`, user and password percent-encoded.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        let bus = &self.rabbitmq;
        let host = bracketed(first(&[&bus.host_ip, &self.coreservice_ip, &self.my_hostip]));
        let scheme = if bus.tls { "amqps" } else { "amqp" };
        format!("{scheme}://{}:{}@{host}:{}/", percent_encoded(&bus.username), percent_encoded(&bus.password), bus.port)
    }

    /// The address to bind listeners to.
    #[must_use]
    pub fn listen_ip(&self) -> IpAddr {
        if let Ok(address) = self.listen.parse() {
            return address;
        }
        if self.is_loopback() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }

    /// Whether the node's own address is one that only its machine can reach.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.my_hostip)
    }

    /// `Broker.<site>[.<n>]`
    #[must_use]
    pub fn broker_id(&self, instance: &str) -> String {
        component_id("Broker", &self.site_id, instance)
    }

    /// `Worker.<site>[.<n>]`
    #[must_use]
    pub fn worker_id(&self, instance: &str) -> String {
        component_id("Worker", &self.site_id, instance)
    }

    /// `Master.<site>`
    #[must_use]
    pub fn master_id(&self) -> String {
        component_id("Master", &self.site_id, "")
    }

    /// The store of a service (`broker`, `discovery`, `designer`, `master`): its own section's, else the common one.
    #[must_use]
    pub fn store_of(&self, service: &str) -> &StoreConfig {
        let own = match service {
            "broker" => &self.broker.store,
            "discovery" => &self.discovery.store,
            "designer" => &self.designer.store,
            "master" => &self.master.store,
            _ => &None,
        };
        own.as_ref().unwrap_or(&self.store)
    }

    /// `<data_dir>/<service>[-<instance>]`: what an embedded store of the service may use. The directory need not exist.
    #[must_use]
    pub fn service_dir(&self, service: &str) -> PathBuf {
        if is_first(&self.instance) { self.data_dir.join(service) } else { self.data_dir.join(format!("{service}-{}", self.instance)) }
    }

    /// Time between two heartbeats of our own worker.
    #[must_use]
    pub fn worker_heartbeat(&self) -> Duration {
        Duration::from_secs(u64::from(self.worker.heartbeat_interval.unwrap_or(2)))
    }

    /// Time between two heartbeats of the broker to discovery.
    #[must_use]
    pub fn broker_heartbeat(&self) -> Duration {
        Duration::from_secs(u64::from(self.broker.heartbeat_interval))
    }

    fn node_url(&self, host: &str, http_port: u16, https_port: u16, path: &str) -> String {
        if self.https.enabled {
            format!("https://{}:{https_port}{path}", bracketed(host))
        } else {
            format!("http://{}:{http_port}{path}", bracketed(host))
        }
    }
}

/// Whether a host is `localhost` or a loopback address.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_first(instance: &str) -> bool {
    instance.is_empty() || instance == "0"
}

fn component_id(kind: &str, site: &str, instance: &str) -> String {
    if is_first(instance) { format!("{kind}.{site}") } else { format!("{kind}.{site}.{instance}") }
}

fn first<'a>(candidates: &[&'a String]) -> &'a str {
    candidates.iter().find(|host| !host.is_empty()).map_or("127.0.0.1", |host| host.as_str())
}

fn plain_url(host: &str, port: u16) -> String {
    format!("http://{}:{port}", bracketed(host))
}

/// A host as it stands in a URL: an IPv6 address in brackets.
#[must_use]
pub fn bracketed(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
