//! A TCP proxy whose links can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// Forwards connections on a free port of loopback to a target.
pub struct Proxy {
    address: SocketAddr,
    cut: broadcast::Sender<()>,
    closed: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy to a port of loopback.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, _) = broadcast::channel::<()>(1);
        let closed = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let (cut, closed) = (cut.clone(), Arc::clone(&closed));
            async move {
                while let Ok((mut here, _)) = listener.accept().await {
                    if closed.load(Ordering::SeqCst) {
                        continue;
                    }
                    let mut cut = cut.subscribe();
                    tokio::spawn(async move {
                        let Ok(mut there) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                        tokio::select! {
                            _ = cut.recv() => {}
                            _ = copy_bidirectional(&mut here, &mut there) => {}
                        }
                    });
                }
            }
        });
        Proxy { address, cut, closed, task }
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts all connections that are there now.
    pub fn cut(&self) {
        let _ = self.cut.send(());
    }

    /// Cuts all connections and, until it is opened again, every new one.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
