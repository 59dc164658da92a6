"""A small internet on loopback: a proxy that answers for the hosts it knows.

The clients under test are the real ones, unchanged. They are sent here by the
variables that every one of them honours (a proxy, a certificate authority), and
ask for the same host names and paths as in production.
"""

import contextlib
import fnmatch
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme


@dataclass(frozen=True)
class Request:
    """One HTTP request; header names are in lower case."""

    method: str
    host: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON, `{}` when there is none."""
        return json.loads(self.body) if self.body else {}

    def form(self) -> dict[str, str]:
        """Return the fields of a form in the body."""
        return dict(urllib.parse.parse_qsl(self.body.decode()))


@dataclass(frozen=True)
class Response:
    """One HTTP response."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(data: Any, status: int = 200, **headers: str) -> Response:
    """Return data as a JSON response."""
    return Response(
        status, json.dumps(data).encode(), {"content-type": "application/json"} | headers
    )


Site = Callable[[Request], Response]


class Internet:
    """The proxy, its certificate authority and the sites behind it.

    Args:
        folder: where the authority's certificate is put for the clients.
    """

    def __init__(self, folder: Path) -> None:
        self.requests: list[Request] = []
        self._sites: list[tuple[str, Site]] = []
        self._authority = trustme.CA()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.ca_file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))
        internet = self

        class Handler(_Handler):
            answer = staticmethod(internet._answer)
            context = staticmethod(internet._context)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def site(self, pattern: str, site: Site) -> None:
        """Answer for the hosts that match a shell pattern; the first match wins."""
        self._sites.append((pattern, site))

    @contextlib.contextmanager
    def online(self) -> Iterator["Internet"]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def environment(self) -> dict[str, str]:
        """Return the variables that send any client here."""
        ca = str(self.ca_file)
        return {
            "HTTPS_PROXY": self.address,
            "https_proxy": self.address,
            "http_proxy": self.address,
            "NO_PROXY": "",
            "no_proxy": "",
            "SSL_CERT_FILE": ca,  # Go: skopeo, gh
            "CURL_CA_BUNDLE": ca,
            "REQUESTS_CA_BUNDLE": ca,  # az
            "AWS_CA_BUNDLE": ca,
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": ca,
        }

    def _context(self, host: str) -> ssl.SSLContext:
        with self._lock:
            if host not in self._contexts:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._authority.issue_cert(host).configure_cert(context)
                self._contexts[host] = context
            return self._contexts[host]

    def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        for pattern, site in self._sites:
            if fnmatch.fnmatch(request.host, pattern):
                return site(request)
        return Response(502, f"there is no {request.host} here".encode())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: Site
    context: Callable[[str], ssl.SSLContext]
    tunnel = ""

    def do_CONNECT(self) -> None:
        host = self.path.rsplit(":", 1)[0]
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.wfile.flush()
        self.close_connection = True
        try:
            secure = self.context(host).wrap_socket(self.connection, server_side=True)
        except OSError:  # the client does not trust us, or went away
            return
        self.tunnel = host
        self.rfile.close()
        self.wfile.close()
        self.connection = secure
        self.rfile = secure.makefile("rb")
        self.wfile = secure.makefile("wb")
        self.close_connection = False

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        if self.tunnel:
            self.connection.close()

    def handle_one_request(self) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            super().handle_one_request()
            return
        self.close_connection = True

    def _any(self) -> None:
        target = urllib.parse.urlsplit(self.path)
        request = Request(
            method=self.command,
            host=self.tunnel or target.hostname or "",
            path=urllib.parse.unquote(target.path),
            query=dict(urllib.parse.parse_qsl(target.query, keep_blank_values=True)),
            headers={
                name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers
            },
            body=self._body(),
        )
        try:
            response = self.answer(request)
        except Exception as error:  # a stand-in must not fall silent
            response = Response(599, f"{type(error).__name__}: {error}".encode())
        self.send_response(response.status)
        headers = {name.lower(): value for name, value in response.headers.items()}
        if request.method != "HEAD" or "content-length" not in headers:
            headers["content-length"] = str(len(response.body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if request.method != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def now() -> str:
    """Return the time as clouds write it, in UTC."""
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        + f".{time.time_ns() % 10**9 // 1000:06d}Z"
    )
