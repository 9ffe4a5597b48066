"""A JSON body, read within limits and strictly: two readers of the same text can't take it for different things.

What a parser lets pass by custom and the standard doesn't is refused: NaN, a name that is given twice (RFC 8259
sections 6 and 4). So is what only costs: more nesting, or more values, than any request has.
"""

import asyncio
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from aiohttp import hdrs, web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from streamsrv.errors import BadParameter, BadRequest, TooLarge, WrongContentType
from streamsrv.web.names import did_you_mean
from streamsrv.web.senders import sending
from streamsrv.web.uploads import invite

M = TypeVar("M", bound=BaseModel)

_JSON = re.compile(r"application/json|[a-z]+/[^ ;]+\+json")
# A string, whole or broken off, a bracket or a comma. Possessive, so that no text takes more than one pass.
_PIECE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[][{},]', re.DOTALL)
_MAX_DEPTH = 32
# A value of two bytes can cost half a kilobyte, where the model takes none of them: it lists all that is wrong.
_MAX_PIECES = 50_000
# Above this, reading can take long enough to be felt by others (milliseconds), so it happens in a thread.
_SMALL_BYTES = 4 << 10
_SHOWN_CHARACTERS = 40
_SHOWN_NAMES = 5


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """`max_bytes` bounds the body. It may be slow for `grace_seconds`, but never idle."""

    max_bytes: int
    idle_seconds: float
    min_bytes_per_second: float = 1024.0
    grace_seconds: float = 20.0


async def read_json(request: web.BaseRequest, model: type[M], *, limits: JsonLimits) -> M:
    """Read the body, a JSON object, as `model`, by pydantic's rules for JSON.

    Memory is bounded: a few times `max_bytes`, and what 50,000 values take. Routes that call it want `defer_continue`
    as their expect handler.
    Raises WrongContentType, TooLarge, UploadTimeout, BadRequest for what isn't such JSON, saying where, and
    BadParameter for what the model doesn't take, naming the field.
    """
    _check_headers(request, limits)
    await invite(request)
    body = await _receive(request, limits)
    if len(body) <= _SMALL_BYTES:
        return _read(body, model)
    return await asyncio.to_thread(_read, body, model)


def _check_headers(request: web.BaseRequest, limits: JsonLimits) -> None:
    if request.headers.getall(hdrs.CONTENT_ENCODING, []):
        raise WrongContentType("A Content-Encoding isn't taken: send the JSON as it is.")
    if not _JSON.fullmatch(request.content_type):
        # What `curl -d` and most who forget the header send is a form.
        raise WrongContentType('Send JSON and say so; with curl, add -H "Content-Type: application/json".')
    if (request.content_length or 0) > limits.max_bytes:
        raise _too_large(limits)


async def _receive(request: web.BaseRequest, limits: JsonLimits) -> bytes:
    body = bytearray()
    with sending(request, limits.idle_seconds) as sender:
        while data := await sender.read():
            body += data
            if len(body) > limits.max_bytes:
                raise _too_large(limits)
            sender.check_rate(limits.min_bytes_per_second, limits.grace_seconds)
    return bytes(body)


def _too_large(limits: JsonLimits) -> TooLarge:
    return TooLarge(f"The request is larger than {limits.max_bytes} bytes.")


def _read(body: bytes, model: type[M]) -> M:
    text = _decode(body)
    _check_pieces(text)
    _check_json(text)
    try:
        # By the model from the text again, and not from what was read just now: JSON has no tuples or enumerations, and
        # a strict model takes lists and strings for them from JSON only.
        return model.model_validate_json(text)
    except ValidationError as error:
        raise _explain(error, model) from error


def _decode(body: bytes) -> str:
    try:
        text = body.decode("utf-8-sig")  # some clients begin with the mark; it may be ignored (RFC 8259 section 8.1)
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body isn't UTF-8 from byte {error.start} on.") from error
    if not text.strip():
        raise BadRequest("The body is empty; send a JSON object.")
    return text


def _check_pieces(text: str) -> None:
    depth = 0
    for count, found in enumerate(_PIECE.finditer(text), 1):
        if count > _MAX_PIECES:
            raise TooLarge(f"The JSON has more than {_MAX_PIECES} strings, brackets and commas.")
        piece = found[0]
        if piece in {"[", "{"}:
            depth += 1
        elif piece in {"]", "}"}:
            depth -= 1
        if depth > _MAX_DEPTH:
            raise BadRequest(f"The JSON is nested more than {_MAX_DEPTH} deep at {_place(text, found.start())}.")


def _check_json(text: str) -> None:
    try:
        value = json.loads(
            text, object_pairs_hook=_check_names, parse_constant=_refuse_constant, parse_float=_read_float
        )
    except json.JSONDecodeError as error:
        wrong = error.msg.removesuffix(" at").removesuffix(" starting")
        raise BadRequest(f"The body isn't JSON at {_place(text, error.pos)}: {wrong[0].lower()}{wrong[1:]}.") from error
    except ValueError as error:  # more digits than Python reads
        raise BadRequest("The JSON has a number that is too long.") from error
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object: {...}.")


def _check_names(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BadRequest(f"The JSON has the name {_shown(name)} twice in one object.")
        found[name] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"The body isn't JSON: it has no {name}.")


def _read_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise BadRequest(f"The JSON has a number that is too large: {digits[:_SHOWN_CHARACTERS]}.")
    return value


def _explain(error: ValidationError, model: type[BaseModel]) -> BadRequest:
    """Say in a sentence what is wrong first of all, and which names are unknown."""
    mistakes = error.errors(include_url=False, include_input=False)
    unknown = [mistake["loc"] for mistake in mistakes if mistake["type"] == "extra_forbidden"]
    if unknown:
        names = ", ".join(_path(where) for where in unknown[:_SHOWN_NAMES])
        if any(len(where) == 1 for where in unknown):
            known = _names(model)
            meant = did_you_mean(str(unknown[0][0]), known) if len(unknown) == 1 else ""
            return BadParameter(f"There is no field {names} here.{meant} There are: {', '.join(known)}.")
        return BadParameter(f"There is no field {names} here.")
    return _explain_first(mistakes[0])


def _explain_first(mistake: ErrorDetails) -> BadRequest:
    if mistake["type"] == "json_invalid":  # half a surrogate pair
        return BadRequest(f"The body isn't JSON: {mistake['ctx']['error']}.")
    said = mistake["msg"].removeprefix("Value error, ").removesuffix(".")
    where = f"{_path(mistake['loc'])}: " if mistake["loc"] else ""
    return BadParameter(f"{where}{said}.")


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _path(where: tuple[int | str, ...]) -> str:
    return ".".join(str(step)[:_SHOWN_CHARACTERS] for step in where)


def _shown(name: str) -> str:
    return repr(name[:_SHOWN_CHARACTERS])


def _place(text: str, position: int) -> str:
    return f"line {text.count(chr(10), 0, position) + 1}, column {position - text.rfind(chr(10), 0, position)}"
