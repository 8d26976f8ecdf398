"""Receiver of webhooks that verifies and prints them: `WEBHOOK_SECRET=whsec_… python3 receiver.py [port]`."""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
MAX_AGE_SECONDS = 300


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_valid = self.is_signed(body)
        self.send_response(200 if is_valid else 401)
        self.end_headers()
        if is_valid:
            event = json.loads(body)
            print(event["event"], json.dumps(event["data"]), flush=True)  # noqa: T201 - its output

    def is_signed(self, body: bytes) -> bool:
        event_id, sent_at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        signed = f"{event_id}.{sent_at}.".encode() + body
        expected = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
        signatures = self.headers["webhook-signature"].split()
        is_recent = abs(time.time() - int(sent_at)) <= MAX_AGE_SECONDS
        return is_recent and any(hmac.compare_digest(f"v1,{expected}", each) for each in signatures)

    def log_message(self, *_arguments: object) -> None:
        """Print only events."""


ThreadingHTTPServer(("127.0.0.1", int((sys.argv[1:] or ["9000"])[0])), Receiver).serve_forever()
