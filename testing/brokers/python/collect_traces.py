"""
A receiver of traces by OTLP over HTTP, for tests: the endpoint of receive_http.py, whose bodies are
decoded by the classes that OpenTelemetry generates from the protocol.

Usage: collect_traces.py PORT FOLDER [CERTIFICATE KEY]

"body" of a request is a list of its spans as JSON text: {"trace", "id", "parent", "name", "kind", "flags",
"start", "end", "attributes", "error", "resource", "scope"}.
"""

import json

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import receive_http


def attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def spans(body):
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "trace": span.trace_id.hex(), "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(), "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    "flags": span.flags, "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano, "attributes": attributes(span.attributes),
                    "error": span.status.code == Status.STATUS_CODE_ERROR,
                    "resource": attributes(resource.resource.attributes),
                    "scope": scope.scope.name}


class Collector(receive_http.Handler):
    @staticmethod
    def written(body):
        return json.dumps(list(spans(body)))


receive_http.serve(Collector)
