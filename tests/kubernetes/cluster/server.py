"""The API over HTTPS on 127.0.0.1."""

from __future__ import annotations

import json
import logging
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.kubernetes.cluster.api import Api, Request
from tests.kubernetes.cluster.certificates import Certificates

logger = logging.getLogger(__name__)


class Server:
    """Serves an API from threads of its own."""

    def __init__(self, certificates: Certificates) -> None:
        self._http = _HttpServer(("127.0.0.1", 0), _Handler)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificates.certificate, certificates.key)
        # The handshake is left to the thread of the connection: in the accepting one it would hold up all others.
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._http.serve_forever, name="api server", daemon=True)

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    def start(self, api: Api) -> None:
        self._http.api = api
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _HttpServer(ThreadingHTTPServer):
    """An HTTP server that knows whose requests it takes."""

    daemon_threads = True
    api: Api

    def handle_error(self, request: object, client_address: object) -> None:
        logger.debug("connection of %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, and writes what the API answers."""

    protocol_version = "HTTP/1.1"
    server: _HttpServer

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query)),
            authorization=self.headers.get("Authorization", ""),
            content_type=self.headers.get("Content-Type", "application/json").split(";")[0],
            body=self.rfile.read(int(self.headers.get("Content-Length", 0))),
        )
        code, answer = self.server.api.answer(request)
        is_text = isinstance(answer, str)
        content = answer.encode() if is_text else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if is_text else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:
        logger.debug(format, *arguments)
