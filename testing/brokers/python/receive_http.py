"""
An HTTP endpoint that takes events, for tests and as an example.

Usage: receive_http.py PORT FOLDER [CERTIFICATE KEY]

Every request is a line of FOLDER/requests: {"method", "path", "headers", "body", "status"}. The line is
on its way to the disk before the answer is. FOLDER/answers holds what to answer next, a line for each
POST: a status, and headers as NAME=VALUE; "hang" answers nothing. Without a line, 204 (for OPTIONS what
FOLDER/options says, else 200). Where FOLDER/bearers holds lines, one of them has to be the bearer token of a
POST, which is answered 401 otherwise. A POST whose body holds a line of FOLDER/failing is answered 500.
"""

import http.server
import json
import pathlib
import ssl
import sys
import threading

from messages import text

port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
lock = threading.Lock()
requests = open(folder / "requests", "a", encoding="utf-8")


def next_answer():
    plan = folder / "answers"
    lines = plan.read_text().splitlines() if plan.exists() else []
    if not lines:
        return "204"
    plan.write_text("\n".join(lines[1:]))
    return lines[0]


def may_post(headers):
    bearers = folder / "bearers"
    if not bearers.exists():
        return True
    return headers.get("authorization") in [f"Bearer {line}" for line in bearers.read_text().splitlines()]


def fails(body):
    failing = folder / "failing"
    return failing.exists() and any(line.encode() in body for line in failing.read_text().splitlines())


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    written = staticmethod(text)
    # One segment for one answer: the client would wait for the second.
    wbufsize = -1

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def answer(self, answer, body):
        status, *headers = answer.split() if answer != "hang" else ["0"]
        record = {
            "method": self.command, "path": self.path, "body": self.written(body), "status": int(status),
            "headers": {name.lower(): value for name, value in self.headers.items()}}
        requests.write(json.dumps(record) + "\n")
        requests.flush()
        if answer == "hang":
            return False
        self.send_response(int(status))
        for header in headers:
            self.send_header(*header.split("=", 1))
        self.send_header("content-length", "0")
        self.end_headers()
        return True

    def do_POST(self):
        body = self.body()
        with lock:
            if not may_post(self.headers):
                answered = self.answer("401", body)
            elif fails(body):
                answered = self.answer("500", body)
            else:
                answered = self.answer(next_answer(), body)
        if not answered:
            threading.Event().wait()

    def do_OPTIONS(self):
        options = folder / "options"
        with lock:
            self.answer(options.read_text().strip() if options.exists() else "200", self.body())

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(handler):
    server = Server(("127.0.0.1", port), handler)
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3], sys.argv[4])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(Handler)
