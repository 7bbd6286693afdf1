"""A web server on loopback that keeps what is posted to it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Inbox(BaseHTTPRequestHandler):
    received: list[tuple[str, dict[str, Any]]]
    """Path and JSON object of each request."""
    status = 200
    is_endless = False
    """Whether an answer goes on and on, for `ENDLESS_SECONDS`."""
    ENDLESS_SECONDS = 6.0

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, json.loads(content)))
        self.send_response(self.status)
        self.send_header("Location", "http://localhost:1/elsewhere")
        self.end_headers()
        ends_at = time.monotonic() + self.ENDLESS_SECONDS
        with suppress(OSError):  # nobody listens any more
            while self.is_endless and time.monotonic() < ends_at:
                self.wfile.write(b"x" * 1000)
                time.sleep(0.05)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def web_inbox() -> Iterator[tuple[type[Inbox], str]]:
    """Yield an inbox of its own and its address."""
    handler = type("OwnInbox", (Inbox,), {"received": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield handler, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
