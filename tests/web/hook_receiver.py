"""A receiver of webhooks on loopback for the tests of the board, whose answer a test may change."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class HookReceiver:
    """Its answer, and the requests that it has received."""

    url: str = ""
    status: int = 200
    body: str = "Thank you."
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers, with names in lower case, and body of each request."""

    def events(self) -> list[bytes]:
        """Bodies of the requests."""
        return [body for _, body in self.requests]


@contextmanager
def hook_receiver() -> Iterator[HookReceiver]:
    """Receive inside the context."""
    receiver = HookReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append((headers, body))
            answer = receiver.body.encode()
            self.send_response(receiver.status)
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("X-Receiver", "<b>receiver</b>")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()
