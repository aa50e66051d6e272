"""
Takes CloudEvents over HTTP and prints what is new of them, as JSON lines.

Usage: receive.py PORT

An event may come more than once, with the same id.
"""

import http.server
import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event

seen = set()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        event = from_http_event(HTTPMessage(headers=headers, body=body))
        if event.get_id() not in seen:
            received = {"type": event.get_type(), "subject": event.get_subject(), "data": event.get_data()}
            # One write, because events come side by side.
            sys.stdout.write(json.dumps(received) + "\n")
            sys.stdout.flush()
            # Only what was worked off is known: an event that failed has to come again.
            seen.add(event.get_id())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
