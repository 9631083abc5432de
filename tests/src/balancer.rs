//! What a Service of a cluster is to its replicas: one address that hands each connection to the next of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The loopback address on which the replica of this number listens.
#[must_use]
pub fn address_of(replica: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, u8::try_from(replica + 2).expect("few replicas")))
}

/// A round-robin proxy on 127.0.0.1 before replicas that listen on the same port of 127.0.0.2, 127.0.0.3, …
pub struct Balancer {
    port: u16,
    task: JoinHandle<()>,
}

impl Balancer {
    /// Starts one. A replica that refuses connections is passed over.
    pub async fn start(port: u16, replicas: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("the service's port is free");
        let next = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    for offset in 0..replicas {
                        let target = SocketAddr::new(address_of((turn + offset) % replicas), port);
                        if let Ok(mut there) = TcpStream::connect(target).await {
                            let _ = copy_bidirectional(&mut here, &mut there).await;
                            return;
                        }
                    }
                });
            }
        });
        Balancer { port, task }
    }

    /// The port, the same on all addresses.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
