//! Converts spans to OpenTelemetry's messages. The only module that names its crates.
//!
//! Attributes have the name of the semantic conventions if there is one; otherwise they start with
//! `cosmos_bridge.`. They never contain bodies, ids or keys of documents.
//!
//! <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>
//! <https://opentelemetry.io/docs/specs/semconv/database/database-spans/>

use cosmos_bridge_sink::ContainerName;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{self, ResourceSpans, ScopeSpans, SpanFlags, Status};
use opentelemetry_semantic_conventions::SCHEMA_URL;
use opentelemetry_semantic_conventions::attribute as semconv;
use prost::Message;

use super::destination::Target;
use super::span::{Read, Span, Step, Written};
use crate::config::{Destination as MessageTarget, Strategy};
use crate::model::Label;

const COSMOS: &str = "azure.cosmosdb";
/// The flag of a sampled span.
const SAMPLED: u32 = 1;

/// The body of a request. `service` is the value of `service.name`.
pub(super) fn request(service: &str, spans: &[Span]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = Resource {
        attributes: vec![
            text(semconv::SERVICE_NAME, service),
            text(semconv::SERVICE_VERSION, version),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "cosmos-bridge".to_owned(),
        version: version.to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans {
        scope: Some(scope),
        spans: spans.iter().map(span).collect(),
        schema_url: SCHEMA_URL.to_owned(),
    };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        schema_url: SCHEMA_URL.to_owned(),
    };
    let is_empty = spans.is_empty();
    let resource_spans = if is_empty { Vec::new() } else { vec![resource_spans] };
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// How many spans of an accepted batch the collector rejected, and why. A body that is no message of the
/// protocol counts as none.
pub(super) fn rejected(body: &[u8]) -> (u64, String) {
    let response = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    let partial = response.partial_success.unwrap_or_default();
    (u64::try_from(partial.rejected_spans).unwrap_or(0), partial.error_message)
}

fn span(span: &Span) -> v1::Span {
    let (name, kind, mut attributes, error) = match &span.step {
        Step::Read(read) => describe_read(read),
        Step::Written(written) => describe_write(span.operation, written),
    };
    attributes.push(text("cosmos_bridge.operation", span.operation));
    let status = error.map(|error| {
        attributes.push(text(semconv::ERROR_TYPE, error));
        Status { code: StatusCode::Error.into(), ..Status::default() }
    });
    v1::Span {
        trace_id: span.trace.to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id: span.parent.map(Vec::from).unwrap_or_default(),
        // The parent is always a span of the bridge.
        flags: SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32,
        name,
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(span.start),
        end_time_unix_nano: nanoseconds(span.end.max(span.start)),
        attributes,
        status,
        ..v1::Span::default()
    }
}

/// Name, kind, attributes and error type.
type Description = (String, SpanKind, Vec<KeyValue>, Option<&'static str>);

fn describe_read(read: &Read) -> Description {
    let name = &read.source.container;
    let operation = "query_change_feed";
    let mut attributes = container(name, operation);
    attributes.extend([
        text("cosmos_bridge.pipeline", &read.source.pipeline),
        text("cosmos_bridge.feed_range", &read.range),
        number("cosmos_bridge.deliveries", read.deliveries),
    ]);
    attributes.extend(read.read_for.as_ref().map(|sink| text("cosmos_bridge.read_for", sink)));
    attributes.extend(read.lsn.map(|lsn| number("cosmos_bridge.lsn", lsn)));
    let committed = read.committed_at.and_then(|at| Timestamp::from_second(at).ok());
    attributes.extend(committed.map(|at| text("cosmos_bridge.committed_at", &at.to_string())));
    let error = (read.unroutable > 0).then_some("unroutable");
    (format!("{operation} {}", name.container), SpanKind::Consumer, attributes, error)
}

fn describe_write(operation: &str, written: &Written) -> Description {
    let destination = &written.destination;
    let (name, kind, mut attributes) = match &destination.target {
        Target::Container { name, strategy } => {
            let operation = item_operation(operation, *strategy);
            let attributes = container(name, operation);
            (format!("{operation} {}", name.container), SpanKind::Client, attributes)
        }
        Target::Messages { system, to } => {
            let (name, to) = match to {
                MessageTarget::Name(to) => {
                    (to, Some(text(semconv::MESSAGING_DESTINATION_NAME, to)))
                }
                MessageTarget::Template(to) => {
                    (to, Some(text(semconv::MESSAGING_DESTINATION_TEMPLATE, to)))
                }
                MessageTarget::Unknown => (&destination.sink, None),
            };
            let mut attributes = vec![
                text(semconv::MESSAGING_SYSTEM, system),
                text(semconv::MESSAGING_OPERATION_NAME, "send"),
                text(semconv::MESSAGING_OPERATION_TYPE, "send"),
                text(semconv::MESSAGING_MESSAGE_ID, &written.event),
            ];
            attributes.extend(to);
            (format!("send {name}"), SpanKind::Producer, attributes)
        }
    };
    let outcome = if written.rejected { "rejected" } else { "delivered" };
    attributes.extend([
        text("cosmos_bridge.sink", &destination.sink),
        text("cosmos_bridge.sink_type", destination.kind),
        text("cosmos_bridge.event_id", &written.event),
        text("cosmos_bridge.outcome", outcome),
        number("cosmos_bridge.attempts", written.attempts),
    ]);
    let waited = written.waited_for.map(|cause| text("cosmos_bridge.waited_for", cause.name()));
    attributes.extend(waited);
    (name, kind, attributes, written.rejected.then_some("rejected"))
}

/// The name that the client libraries for Cosmos DB use.
fn item_operation(operation: &str, strategy: Strategy) -> &'static str {
    match (operation, strategy) {
        ("upsert", Strategy::Upsert) => "upsert_item",
        ("upsert", Strategy::InsertIfAbsent) => "create_item",
        ("upsert", Strategy::ReplaceIfPresent) => "replace_item",
        _ => "delete_item",
    }
}

fn container(name: &ContainerName, operation: &str) -> Vec<KeyValue> {
    vec![
        text(semconv::DB_SYSTEM_NAME, COSMOS),
        text(semconv::DB_NAMESPACE, &name.database),
        text(semconv::DB_COLLECTION_NAME, &name.container),
        text(semconv::DB_OPERATION_NAME, operation),
        text("cosmos_bridge.account", &name.account),
    ]
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: impl TryInto<i64>) -> KeyValue {
    attribute(key, Value::IntValue(value.try_into().unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn nanoseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}
