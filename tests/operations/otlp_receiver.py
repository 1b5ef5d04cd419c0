"""Receives spans as OpenTelemetry has them (OTLP over HTTP, protobuf), read by OpenTelemetry's own package.

With a certificate's file and its key's it speaks TLS. Prints its port, and then a JSON object for each span.
"""
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


def pairs(attributes):
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        assert self.path == "/v1/traces", self.path
        assert self.headers["content-type"] == "application/x-protobuf", self.headers
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    print(json.dumps({
                        "key": self.headers["x-key"],
                        "service": pairs(resource.resource.attributes)["service.name"],
                        "name": span.name,
                        "kind": Span.SpanKind.Name(span.kind),
                        "trace": span.trace_id.hex(),
                        "span": span.span_id.hex(),
                        "status": Status.StatusCode.Name(span.status.code),
                        "failure": span.status.message,
                        "parent": span.parent_span_id.hex(),
                        "micros": (span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
                        "start": span.start_time_unix_nano // 1000,
                        "attributes": pairs(span.attributes),
                    }), flush=True)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
if len(sys.argv) == 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:])
    # The handshake is made where the connection is served, so that one that fails ends nothing else.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
sys.exit(server.serve_forever())
