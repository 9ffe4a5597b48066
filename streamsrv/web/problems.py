"""Errors become `application/problem+json` (RFC 9457), whoever raised them, and say nothing about our insides."""

import errno
from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Handler
from multidict import CIMultiDict

from streamsrv import errors
from streamsrv.errors import BadRequest, DiskFull, InternalError, Problem, Unavailable
from streamsrv.files import means_full_disk
from streamsrv.web.requests import CLIENT_GONE, request_id
from streamsrv.web.responses import to_json

# What aiohttp raises itself, as ours. Other statuses keep aiohttp's words.
_OURS = {
    problem.status: problem
    for problem in (
        errors.BadRequest,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.TooLarge,
        errors.WrongContentType,
        errors.InternalError,
        errors.Unavailable,
    )
}
_RETRY_AFTER_SECONDS = {429: "5", 503: "2"}

log = structlog.stdlib.get_logger(__name__)


def answer_problems(app: web.Application) -> None:
    """Make every error of every route, and of no route at all, a problem document.

    After the reply has begun it is too late for that: then the connection is cut, so that the client sees a cut body.
    """
    app.middlewares.append(_answer_problem)
    app.on_response_prepare.append(_reshape)


def problem_response(problem: Problem, request_id: str) -> web.Response:
    """Write the problem as a reply, with its status, its headers and its further members."""
    document: dict[str, Any] = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "request_id": request_id,
    }
    # What every problem has is ours to say.
    further = {name: value for name, value in problem.members.items() if name not in document}
    return _document_reply(document | further, problem.headers)


@web.middleware
async def _answer_problem(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Exception as error:
        if isinstance(error, web.HTTPException) and error.status < 400:
            raise  # a redirect
        return _reply_to(request, error)


def _reply_to(request: web.Request, error: Exception) -> web.Response:
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # a task group wraps the one thing that went wrong
    problem = _translate(error)
    gone = _client_is_gone(request)
    if isinstance(problem, InternalError) and not (gone and isinstance(error, ConnectionError)):
        log.error("request_failed", exc_info=error)
    if gone:
        return _never_sent()
    if request.writer.output_size > 0:
        log.warning("reply_cut", problem=type(problem).__name__)
        if request.transport is not None:
            request.transport.abort()
        return _never_sent()
    if isinstance(problem, Problem):
        reply = problem_response(problem, request_id(request))
    else:
        reply = _foreign_response(problem, request_id(request))
    if not request.content.at_eof():
        # The client may still be sending. Told so, it stops; aiohttp reads on for a while, so that it hears.
        reply.headers.setdefault(hdrs.CONNECTION, "close")
    return reply


def _translate(error: Exception) -> Problem | web.HTTPException:
    if isinstance(error, Problem | web.HTTPException):
        return error
    if means_full_disk(error):
        return DiskFull()
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return Unavailable("The server has too many files open.")
    if isinstance(error, web.RequestPayloadError | HttpProcessingError):  # the latter by aiohttp's parser in Python
        return BadRequest("The request's body is malformed.")
    return InternalError()


def _foreign_response(error: web.HTTPException, request_id: str) -> web.Response:
    """Write an exception of aiohttp's as a problem. Its text is the detail where somebody gave it one."""
    headers = {name: value for name, value in error.headers.items() if not name.lower().startswith("content-")}
    detail = None if error.text == f"{error.status}: {error.reason}" else error.text
    if (ours := _OURS.get(error.status)) is not None:
        return problem_response(ours(detail, headers=headers), request_id)
    document = {
        "type": "about:blank",
        "title": error.reason,
        "status": error.status,
        "detail": detail or error.reason,
        "request_id": request_id,
    }
    return _document_reply(document, headers)


def _document_reply(document: Mapping[str, Any], headers: Mapping[str, str]) -> web.Response:
    status: int = document["status"]
    fields: CIMultiDict[str] = CIMultiDict(headers)
    fields[hdrs.CACHE_CONTROL] = "no-store"
    fields[hdrs.CONTENT_TYPE] = "application/problem+json"
    if status in _RETRY_AFTER_SECONDS:
        fields.setdefault(hdrs.RETRY_AFTER, _RETRY_AFTER_SECONDS[status])
    return web.Response(status=status, body=to_json(document), headers=fields)


async def _reshape(request: web.Request, response: web.StreamResponse) -> None:
    """Reshape the one error that meets no middleware: aiohttp's own 417 to an Expect it doesn't know."""
    if not isinstance(response, web.HTTPException) or response.status < 400:
        return
    shaped = _foreign_response(response, request_id(request))
    response.headers.update(shaped.headers)
    response.body = shaped.body
    response.headers[hdrs.CONTENT_LENGTH] = str(shaped.content_length)


def _client_is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _never_sent() -> web.Response:
    """aiohttp wants a reply even where nobody is left to read one; writing it fails quietly, as it should."""
    return web.Response(status=CLIENT_GONE, reason="Client Closed Request")
