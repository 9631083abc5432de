//! Traces by OpenTelemetry, when a collector is configured, and their way through HTTP headers and bus messages.
//!
//! Without a collector nothing of this costs a request more than one relaxed load.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use fogflow_config::Config;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

static EXPORTING: AtomicBool = AtomicBool::new(false);
const TRACEPARENT: &str = "traceparent";
/// Also the longest that a dead collector holds the end of the process.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// Owns the exporter; dropping it flushes.
pub(crate) struct Exporter {
    provider: SdkTracerProvider,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        EXPORTING.store(false, Ordering::Relaxed);
        if let Err(error) = self.provider.shutdown() {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}

/// The layer that hands spans to the collector; `None` when none is configured or it cannot be set up.
pub(crate) fn layer<S>(config: &Config, service: &str) -> (Option<Box<dyn Layer<S> + Send + Sync>>, Option<Exporter>)
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let base = config.telemetry.otlp_endpoint.trim_end_matches('/');
    if base.is_empty() {
        return (None, None);
    }
    let endpoint = if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") };
    let exporter = crate::client::http_client(config).and_then(|client| {
        let builder = opentelemetry_otlp::SpanExporter::builder().with_http().with_http_client(client);
        Ok(builder.with_protocol(Protocol::HttpBinary).with_endpoint(endpoint).with_timeout(EXPORT_TIMEOUT).build()?)
    });
    let exporter = match exporter {
        Ok(exporter) => exporter,
        Err(error) => {
            // The subscriber is not there yet, and a closed output is no reason to fail.
            let _ = writeln!(std::io::stderr(), "telemetry.otlp_endpoint: {error:#}: no traces are sent");
            return (None, None);
        }
    };
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter, opentelemetry_sdk::runtime::Tokio).build())
        .with_resource(opentelemetry_sdk::Resource::builder().with_service_name(service.to_owned()).build())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("fogflow")).with_filter(EnvFilter::new("info"));
    EXPORTING.store(true, Ordering::Relaxed);
    (Some(layer.boxed()), Some(Exporter { provider }))
}

/// The span of a request, continued from the caller's; `None` when no traces are sent.
pub(crate) fn request_span(request: &Request, route: &str, service: &str) -> Option<Span> {
    if !EXPORTING.load(Ordering::Relaxed) {
        return None;
    }
    let name = format_args!("{} {route}", request.method());
    let span = tracing::info_span!("request", "otel.name" = %name, "otel.kind" = "server", service);
    set_parent_from_headers(&span, request.headers());
    Some(span)
}

/// A span for work that happens after the request that caused it was answered: it continues the trace of a stored
/// `traceparent`. Its attribute `service` tells the services of one process apart. Disabled, and free, when no traces are sent
/// or there is none to continue.
#[must_use]
pub fn continued(name: &'static str, service: &str, traceparent: Option<&str>) -> Span {
    let Some(traceparent) = traceparent.filter(|text| !text.is_empty() && EXPORTING.load(Ordering::Relaxed)) else {
        return Span::none();
    };
    let span = tracing::info_span!("step", "otel.name" = name, service);
    set_parent(&span, traceparent);
    span
}

/// W3C `traceparent` of the current span, for a bus message or a stored record; `None` when no traces are sent.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    if !EXPORTING.load(Ordering::Relaxed) {
        return None;
    }
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// Adds the current span's `traceparent` to the headers of an outgoing request.
pub fn inject_traceparent(headers: &mut HeaderMap) {
    if let Some(value) = current_traceparent().and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// Makes a span the child of the one that a `traceparent` names. Anything malformed is ignored, as W3C demands.
pub fn set_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        let context = opentelemetry::Context::new().with_remote_span_context(parent);
        // Fails only for a span that is disabled or has begun to be exported.
        let _ = span.set_parent(context);
    }
}

/// [`set_parent`] with the header of an incoming request.
pub fn set_parent_from_headers(span: &Span, headers: &HeaderMap) {
    if let Some(text) = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()) {
        set_parent(span, text);
    }
}

fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut fields = traceparent.split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}
