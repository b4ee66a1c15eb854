"""A collector that listens for a second, and what it must have heard: traces.py BINARY."""

import base64
import http.client
import http.server
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, ERROR = 2, 2


class Collector(http.server.BaseHTTPRequestHandler):
    heard = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append((self.path, self.headers["Content-Type"], ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(binary, folder, **environment):
    """The process, and the port that it listens on."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LINGPAI_", "OTEL_"))}
    with open(f"{folder}/log", "wb") as log:
        process = subprocess.Popen(
            [binary, "serve", "--config", f"{folder}/lingpai.toml", "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=log, text=True, env=clean | environment,
        )
    return process, int(re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())[1])


def ask(port, method, path, body=None, **fields):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers={name.replace("_", "-"): value for name, value in fields.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def stop(process):
    process.terminate()
    assert process.wait(60) == 0


def attributes(of):
    return {one.key: one.value.string_value or one.value.int_value for one in of.attributes}


def main(binary):
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    with tempfile.TemporaryDirectory() as parent:
        folder = f"{parent}/served"
        secret = re.search(r"lps_[\w-]+", subprocess.check_output([binary, "init", folder], text=True))[0]
        basic = "Basic " + base64.b64encode(f"first:{secret}".encode()).decode()
        form = {"Authorization": basic, "Content-Type": "application/x-www-form-urlencoded"}
        process, port = serve(binary, folder, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_RESOURCE_ATTRIBUTES="pod=a")
        began = time.time_ns()
        asked = [
            ask(port, "GET", "/.well-known/jwks.json", traceparent=f"00-{TRACE}-{PARENT}-01", X_Request_Id="mine"),
            ask(port, "POST", "/token"),
            ask(port, "BREW", "/coffee"),
            ask(port, "GET", "/healthz", traceparent=f"00-{TRACE}-{PARENT}-00"),
            ask(port, "POST", "/oauth2/introspect", "token=x", **form),
        ]
        assert asked == [200, 401, 404, 200, 200], asked
        # What waits is sent before the end.
        stop(process)
        ended = time.time_ns()
        assert Collector.heard and all(
            (path, kind) == ("/v1/traces", "application/x-protobuf") for path, kind, _ in Collector.heard
        ), Collector.heard
        resources = [resource for *_, request in Collector.heard for resource in request.resource_spans]
        names = attributes(resources[0].resource)
        assert (names["service.name"], names["pod"]) == ("lingpai", "a"), names
        spans = {span.name: span for one in resources for scope in one.scope_spans for span in scope.spans}
        # The caller of /healthz has said that it is not to be sampled.
        others = {"POST /token", "POST /oauth2/introspect", "_OTHER"}
        assert set(spans) == {"GET /.well-known/jwks.json"} | others, set(spans)
        # That a token is not active is no error.
        assert "error.type" not in attributes(spans["POST /oauth2/introspect"])
        keys = spans["GET /.well-known/jwks.json"]
        assert (keys.trace_id.hex(), keys.parent_span_id.hex(), keys.kind) == (TRACE, PARENT, SERVER)
        assert began <= keys.start_time_unix_nano < keys.end_time_unix_nano <= ended
        expected = {
            "http.request.method": "GET", "http.response.status_code": 200, "http.route": "/.well-known/jwks.json",
            "client.address": "127.0.0.1", "lingpai.request_id": "mine",
        }
        assert attributes(keys) == expected, attributes(keys)
        refused = attributes(spans["POST /token"])
        assert (refused["http.response.status_code"], refused["error.type"]) == (401, "no_credentials"), refused
        assert spans["POST /token"].status.code != ERROR

        # A collector that is not there costs no request.
        collector.shutdown()
        collector.server_close()
        process, port = serve(binary, folder, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        assert [ask(port, "GET", "/healthz") for _ in range(100)] == [200] * 100
        stop(process)
        process, port = serve(binary, folder, OTEL_EXPORTER_OTLP_ENDPOINT="https://collector.example")
        assert ask(port, "GET", "/healthz") == 200
        stop(process)
        with open(f"{folder}/log", encoding="utf-8") as log:
            assert "must begin with http://" in log.read()
    print(f"ok: {len(spans)} spans, with their parent, resource and attributes; none without a collector")


main(*sys.argv[1:])
