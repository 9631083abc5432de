//! A subscriber: takes notifications, looks for stamps, answers at once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::histogram::Histogram;
use crate::http::find;
use crate::load::Stamper;
use crate::template::stamps;

/// The answer that every interface takes as a delivery.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 51\r\n\r\n\
    {\"responseCode\":{\"code\":200,\"reasonPhrase\":\"OK\"}}  ";

/// What has arrived.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// The numbers that have arrived.
    pub seen: HashSet<u64>,
    /// How many arrived more than once.
    pub repeated: u64,
    /// Requests taken.
    pub requests: u64,
    /// From the update's sending to its arrival here.
    pub latency: Histogram,
    /// When the last one came.
    pub last: Option<Instant>,
}

/// A listening subscriber.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Where it listens.
    pub url: String,
    arrivals: Rc<RefCell<Arrivals>>,
    stamper: Rc<RefCell<Rc<Stamper>>>,
}

impl Sink {
    /// Listens on a free port of this address (inside a `LocalSet`).
    ///
    /// # Errors
    /// If there is none.
    pub async fn listen(host: &str, stamper: Rc<Stamper>) -> io::Result<Self> {
        let listener = TcpListener::bind((host, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let sink = Sink { url, arrivals: Rc::default(), stamper: Rc::new(RefCell::new(stamper)) };
        let accepting = sink.clone();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sink = accepting.clone();
                tokio::task::spawn_local(async move { sink.serve(stream).await });
            }
        });
        Ok(sink)
    }

    /// Forgets what has arrived, and looks for the numbers of another run.
    pub fn reset(&self, stamper: Rc<Stamper>) {
        *self.stamper.borrow_mut() = stamper;
        *self.arrivals.borrow_mut() = Arrivals::default();
    }

    /// Waits until `count` changes have arrived, or none for a while; then takes what has arrived.
    pub async fn settle(&self, count: u64, patience: Duration) -> Arrivals {
        let mut quiet_since = Instant::now();
        let mut before = 0;
        loop {
            let seen = self.arrivals.borrow().seen.len() as u64;
            if seen >= count || quiet_since.elapsed() > patience {
                return std::mem::take(&mut self.arrivals.borrow_mut());
            }
            if seen != before {
                (before, quiet_since) = (seen, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut buffer: Vec<u8> = Vec::with_capacity(64 * 1024);
        loop {
            let (head, length) = loop {
                if let Some(request) = request(&buffer) {
                    break request;
                }
                if stream.read_buf(&mut buffer).await.ok()? == 0 {
                    return None;
                }
            };
            self.note(buffer.get(head..head + length)?);
            buffer.drain(..head + length);
            stream.write_all(ANSWER).await.ok()?;
        }
    }

    fn note(&self, body: &[u8]) {
        let stamper = self.stamper.borrow();
        let mut arrivals = self.arrivals.borrow_mut();
        arrivals.requests += 1;
        for number in stamps(body) {
            let Some(age) = stamper.age(number) else { continue };
            if arrivals.seen.insert(number) {
                arrivals.latency.add(age);
                arrivals.last = Some(Instant::now());
            } else {
                arrivals.repeated += 1;
            }
        }
    }
}

/// Where the body of the first request in the buffer begins and how long it is, if it is complete.
fn request(buffer: &[u8]) -> Option<(usize, usize)> {
    let head = find(buffer, b"\r\n\r\n")? + 4;
    let lines = buffer.get(..head)?.split(|byte| *byte == b'\n');
    let length = lines.filter_map(|line| line.split_at_checked(15)).find(|(name, _)| name.eq_ignore_ascii_case(b"content-length:"));
    let length = length.and_then(|(_, value)| std::str::from_utf8(value).ok()?.trim().parse::<usize>().ok()).unwrap_or(0);
    (buffer.len() >= head + length).then_some((head, length))
}
