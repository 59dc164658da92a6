"""Pure ASGI middleware: unlike BaseHTTPMiddleware it costs microseconds a request."""

import re
import time
import uuid
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID_HEADER = "x-request-id"

# What a client sends as its request id is taken over only in this harmless form.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

_PROBES = ("/health", "/health/ready")

_logger = structlog.get_logger("access")


class RequestContext:
    """Gives each request an id, in its log lines and its response, and writes the access log.

    Successful probes are not logged: platforms send them all day.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        start = time.perf_counter()
        request_id = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        # Not unbound at the end: the server logs unhandled errors after this
        # returns, in the same task, and that line needs the id most.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR  # unless a response starts

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            path = scope["path"]
            if path not in _PROBES or status != HTTPStatus.OK:
                _logger.info(
                    "request",
                    method=scope["method"],
                    path=path,  # without the query, which may hold personal data
                    status=status,
                    duration_ms=round((time.perf_counter() - start) * 1000, 2),
                )


class BodyLimit:
    """Refuses request bodies that are larger than a limit with 413.

    `FastAPI(max_body_size=...)` does so too, but answers plain text from outside
    the middleware: without a request id and without a line in the access log.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        received = 0
        declared = Headers(scope=scope).get("content-length", "0")

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # The declared length counts too: refuse before the body is read.
            if max(received, int(declared)) > self.max_bytes:
                raise HTTPException(413, f"The body is larger than {self.max_bytes} bytes.")
            return message

        await self.app(scope, receive_within_limit, send)
