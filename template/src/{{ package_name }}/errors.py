"""Every error as `application/problem+json` (RFC 9457), with the request id, without internals."""

from http.client import responses
from typing import Any

from fastapi import FastAPI, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from .middleware import REQUEST_ID_HEADER


class Problem(BaseModel):
    """Problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    request_id: str
    errors: list[dict[str, Any]] | None = Field(
        default=None, description="With status 422: `type`, `loc` and `msg` of each mistake"
    )


# For a router's `responses=`: documents the errors of all its routes, in place
# of FastAPI's own 422 schema, which this service never sends.
PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Problem details",
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    }
}


def _respond(request: Request, code: int, **members: Any) -> JSONResponse:
    title = responses.get(code, "Error")
    problem = Problem(title=title, status=code, request_id=request.state.request_id, **members)
    if problem.detail == title:  # Starlette's default says nothing more
        problem.detail = None
    return JSONResponse(
        problem.model_dump(exclude_none=True), code, media_type="application/problem+json"
    )


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    response = _respond(request, error.status_code, detail=str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Not `input` and `ctx`: they repeat what the client sent, passwords too.
    errors = [{key: e[key] for key in ("type", "loc", "msg")} for e in error.errors()]
    return _respond(request, status.HTTP_422_UNPROCESSABLE_CONTENT, errors=errors)


async def _unhandled_error(request: Request, _: Exception) -> JSONResponse:
    # Runs outside the middleware, which therefore cannot add the header. The
    # error itself is raised on, and logged with its traceback by the server.
    response = _respond(request, status.HTTP_500_INTERNAL_SERVER_ERROR)
    response.headers[REQUEST_ID_HEADER] = request.state.request_id
    return response


def add_error_handlers(app: FastAPI) -> None:
    """Make the application answer every error with a problem document."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _unhandled_error)
