//! A span for each request, sent by OTLP over HTTP as the environment's `OTEL_*` say (OpenTelemetry's specification).
//!
//! A span is created once its request has been answered, and a dedicated thread sends it. If the collector is stuck,
//! spans are dropped, and no request waits.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use super::Request;

/// The endpoint, for traces alone and for all of OpenTelemetry.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// When dropped, sends what is queued, for a few seconds at most.
#[derive(Debug)]
pub(super) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Starts tracing if the environment names an endpoint.
    pub(super) fn start() -> Self {
        let Some(endpoint) = ENDPOINTS.iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()))
        else {
            return Self(None);
        };
        if !endpoint.starts_with("http://") {
            tracing::error!("no traces are sent: the endpoint in OTEL_EXPORTER_OTLP_ENDPOINT must begin with http://");
            return Self(None);
        }
        let exporter = match SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build() {
            Ok(exporter) => exporter,
            Err(error) => {
                tracing::error!(%error, "no traces are sent");
                return Self(None);
            }
        };
        let resource = Resource::builder();
        let is_named = std::env::var_os(SERVICE_NAME).is_some();
        let resource = if is_named { resource } else { resource.with_service_name(env!("CARGO_PKG_NAME")) };
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
        let _ = TRACER.set(provider.tracer(env!("CARGO_PKG_NAME")));
        Self(Some(provider))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::warn!(%error, "traces were lost at the end");
        }
    }
}

/// Records a request that was just answered, and its duration in microseconds.
pub(super) fn record(request: &Request<'_>, status: u16, micros: u64, cause: Option<&str>) {
    let Some(tracer) = TRACER.get() else { return };
    let method = if request.method.is_empty() { "_OTHER" } else { request.method };
    let text = |name, value: &str| KeyValue::new(name, value.to_owned());
    // The names of OpenTelemetry's semantic conventions for HTTP, and ours.
    let mut attributes = vec![
        text("http.request.method", method),
        KeyValue::new("http.response.status_code", i64::from(status)),
        text("client.address", request.address),
        text("lingpai.request_id", request.id),
    ];
    attributes.extend((!request.route.is_empty()).then(|| text("http.route", request.route)));
    attributes.extend(request.client.map(|client| text("lingpai.client", client)));
    attributes.extend(cause.map(|cause| text("error.type", cause)));
    let start = opentelemetry::time::now().checked_sub(Duration::from_micros(micros));
    let span = tracer.span_builder(format!("{method} {}", request.route).trim_end().to_owned());
    let span = span.with_kind(SpanKind::Server).with_attributes(attributes);
    let span = start.map_or(span.clone(), |start| span.with_start_time(start));
    let parent = request.traceparent.and_then(parent).unwrap_or_default();
    let mut span = span.start_with_context(tracer, &parent);
    if status >= 500 {
        span.set_status(Status::error(""));
    }
    span.end();
}

/// The caller's span: `traceparent` in its form (W3C Trace Context §3.2).
fn parent(traceparent: &str) -> Option<Context> {
    let mut parts = traceparent.split('-').skip(1);
    let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    Some(Context::new().with_remote_span_context(context))
}
