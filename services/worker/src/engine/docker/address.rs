//! Who reaches whom between containers, this machine and the broker: one decision in one place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fogflow_chassis::{CancellationToken, Supervisor};
use fogflow_config::bracketed;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections that the relay carries at a time.
const CONNECTIONS: usize = 1024;
const CONNECT: Duration = Duration::from_secs(5);

/// The addresses that tasks and their brokers use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Address of this machine on which ports of containers are published.
    pub(crate) publish: IpAddr,
    /// Host part of tasks' endpoints.
    pub(crate) reference_host: String,
    /// The broker as a container calls it.
    pub(crate) broker_url: String,
    /// From where to where connections to the broker must be carried, when it listens on loopback only.
    pub(crate) relay: Option<(SocketAddr, SocketAddr)>,
}

/// Decides. `host` is `my_hostip`, `gateway` this machine's address on docker's bridge.
///
/// A node with an address of its own publishes ports on all addresses and is called by that address. On a loopback node
/// ports are published on loopback, where its broker is; and since a container's loopback is its own, the broker is called
/// at the gateway, from where connections are carried to it.
pub(crate) fn decide(host: &str, broker_url: &str, gateway: Option<IpAddr>) -> Addresses {
    let reference_host = bracketed(host);
    let publish = if is_loopback(host) { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let mut addresses = Addresses { publish, reference_host, broker_url: broker_url.to_owned(), relay: None };
    if let (Some(gateway), Ok(mut url)) = (gateway, reqwest::Url::parse(broker_url))
        && url.host_str().is_some_and(is_loopback)
        && let Some(port) = url.port_or_known_default()
        && url.set_ip_host(gateway).is_ok()
    {
        url.as_str().trim_end_matches('/').clone_into(&mut addresses.broker_url);
        addresses.relay = Some((SocketAddr::new(gateway, port), SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    }
    addresses
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Carries connections from the bridge to the broker. Ends by itself when the broker listens on the bridge too.
pub(crate) async fn relay(from: SocketAddr, to: SocketAddr, supervisor: Supervisor, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listener = match TcpListener::bind(from).await {
        Ok(listener) => listener,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::info!(%from, "something listens on docker's bridge already; it is taken for the broker");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    tracing::info!(%from, %to, "containers reach the broker here");
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await?;
        let mut inner = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: others must end first.
                    tracing::warn!(%error, "a connection to the broker was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let ended = shutdown.clone();
        supervisor.spawn("worker/broker-relay-connection", async move {
            let _slot = slot;
            let Ok(Ok(mut outer)) = tokio::time::timeout(CONNECT, TcpStream::connect(to)).await else { return };
            tokio::select! {
                () = ended.cancelled() => {}
                _ = tokio::io::copy_bidirectional(&mut inner, &mut outer) => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1));

    #[test]
    fn a_loopback_node_is_called_at_the_gateway_and_publishes_on_loopback() {
        let addresses = decide("127.0.0.1", "http://127.0.0.1:8070/ngsi10", Some(GATEWAY));
        assert_eq!(
            addresses,
            Addresses {
                publish: IpAddr::V4(Ipv4Addr::LOCALHOST),
                reference_host: "127.0.0.1".to_owned(),
                broker_url: "http://172.17.0.1:8070/ngsi10".to_owned(),
                relay: Some(("172.17.0.1:8070".parse().unwrap(), "127.0.0.1:8070".parse().unwrap())),
            }
        );
    }

    #[test]
    fn a_node_with_an_address_is_called_by_it() {
        let addresses = decide("10.0.0.5", "http://10.0.0.5:8070/ngsi10", Some(GATEWAY));
        assert_eq!(addresses.broker_url, "http://10.0.0.5:8070/ngsi10");
        assert_eq!((addresses.publish, addresses.relay), (IpAddr::V4(Ipv4Addr::UNSPECIFIED), None));
        assert_eq!(decide("fd00::5", "http://[fd00::5]:8070/ngsi10", Some(GATEWAY)).reference_host, "[fd00::5]");
    }

    #[test]
    fn without_a_bridge_nothing_is_rewritten() {
        assert_eq!(decide("localhost", "http://localhost:8070/ngsi10", None).broker_url, "http://localhost:8070/ngsi10");
    }

    #[tokio::test]
    async fn the_relay_carries_both_ways_and_gives_way_to_a_broker_that_listens_there_itself() {
        let process = fogflow_chassis::Process::new("test");
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (from, to) = (free.local_addr().unwrap(), target.local_addr().unwrap());
        relay(from, to, process.tasks.clone(), process.shutdown.clone()).await.unwrap();
        drop(free);
        process.tasks.spawn_restarting("relay", {
            let process = process.clone();
            move || relay(from, to, process.tasks.clone(), process.shutdown.clone())
        });
        let mut client = loop {
            match TcpStream::connect(from).await {
                Ok(client) => break client,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let (mut server, _) = target.accept().await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let mut text = [0; 4];
        server.read_exact(&mut text).await.unwrap();
        server.write_all(b"pong").await.unwrap();
        client.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"pong");
        process.shutdown.cancel();
        assert!(process.tasks.drain(Duration::from_secs(5)).await.unfinished.is_empty());
    }
}
