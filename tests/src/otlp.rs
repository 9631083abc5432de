//! A collector of traces: takes OTLP over HTTP and remembers the spans.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;

/// What a test wants to know of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// 32 hexadecimal digits.
    pub trace: String,
    /// 16 hexadecimal digits.
    pub id: String,
    /// The id of the span that caused it; empty for the first of a trace.
    pub parent: String,
    /// What it is about.
    pub name: String,
    /// The service of the node: the attribute `service`, else the resource's `service.name`.
    pub service: String,
}

/// A running collector.
pub struct Collector {
    /// The base URL, for `telemetry.otlp_endpoint`.
    pub url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    /// Listens on a free port of the loopback address.
    pub async fn start() -> Self {
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(spans.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Collector { url, spans }
    }

    /// The spans of one trace that have come so far.
    #[must_use]
    pub fn of_trace(&self, trace: &str) -> Vec<Span> {
        self.spans.lock().unwrap().iter().filter(|span| span.trace == trace).cloned().collect()
    }
}

async fn take(State(spans): State<Arc<Mutex<Vec<Span>>>>, body: Bytes) {
    spans.lock().unwrap().extend(decode(&body));
}

/// `ExportTraceServiceRequest` of opentelemetry-proto 1; the numbers are those of its `trace.proto` and `common.proto`.
fn decode(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource_spans in parts(request, 1) {
        let resource = parts(resource_spans, 1).next().unwrap_or_default();
        let service_name = attribute(resource, 1, "service.name").unwrap_or_default();
        for span in parts(resource_spans, 2).flat_map(|scope_spans| parts(scope_spans, 2)) {
            let field = |number| parts(span, number).next().unwrap_or_default();
            spans.push(Span {
                trace: hex(field(1)),
                id: hex(field(2)),
                parent: hex(field(4)),
                name: String::from_utf8_lossy(field(5)).into_owned(),
                service: attribute(span, 9, "service").unwrap_or_else(|| service_name.clone()),
            });
        }
    }
    spans
}

/// The text of an attribute in a repeated `KeyValue` field.
fn attribute(message: &[u8], number: u64, key: &str) -> Option<String> {
    let pair = parts(message, number).find(|pair| parts(pair, 1).next() == Some(key.as_bytes()))?;
    let text = parts(parts(pair, 2).next()?, 1).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// The length-delimited fields of a protobuf message that have this number.
fn parts(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    let mut rest = message;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let tag = varint(&mut rest)?;
            let length = match tag & 7 {
                0 => {
                    varint(&mut rest)?;
                    0
                }
                1 => 8,
                2 => usize::try_from(varint(&mut rest)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (value, after) = rest.split_at_checked(length)?;
            rest = after;
            if tag >> 3 == number && tag & 7 == 2 {
                return Some(value);
            }
        }
        None
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
