"""The tries of a webhook: how one is signed, what its answer means, and when the next one follows. Pure."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from aiohttp import hdrs
from standardwebhooks import Webhook

from streamsrv.outbound.replies import read_retry_after

_GONE = 410
_JITTER = 0.2  # of a delay, up or down, so that what failed together doesn't come back together

State = Literal["waiting", "delivered", "gave up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookLimits:
    """After each failure the next of the delays passes before the next try; after the last one it is given up."""

    delays_seconds: tuple[float, ...] = (5.0, 30.0, 120.0, 600.0, 3600.0, 10_800.0, 28_800.0, 86_400.0)
    try_seconds: float = 15.0
    at_once: int = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """How a try ended: the status, or none where no reply came; the error in words, None where it was taken."""

    status: int | None
    error: str | None
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a message: `failures` are the tries that failed so far, `next_at` is a Unix time."""

    state: State
    failures: int
    next_at: float | None


def webhook_secret(server_secret: bytes) -> str:
    """Derive what receivers check signatures with. Whoever knows it doesn't know the server's own secret."""
    key = hmac.digest(server_secret, b"streamsrv webhooks", hashlib.sha256)
    return f"whsec_{base64.b64encode(key).decode()}"


def sign(signer: Webhook, message_id: str, body: bytes, now: float) -> dict[str, str]:
    """Give the headers of Standard Webhooks, for a try at the Unix time `now`."""
    moment = datetime.fromtimestamp(int(now), UTC)
    return {
        hdrs.CONTENT_TYPE: "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": signer.sign(message_id, moment, body.decode()),
    }


def read_answer(status: int, headers: Mapping[str, str]) -> Answer:
    """Judge a reply: whatever isn't 2xx is a failure."""
    if 200 <= status < 300:
        return Answer(status, None)
    error = f"The receiver answered {status}."
    if 300 <= status < 400:
        error = f"The receiver answered {status}. Redirects aren't followed."
    return Answer(status, error, read_retry_after(headers.get(hdrs.RETRY_AFTER, "")))


def judge(answer: Answer, failed_before: int, delays_seconds: Sequence[float], now: float, chance: float) -> Outcome:
    """Say what becomes of a message after this answer. `now` is a Unix time, `chance` is in 0..1.

    A receiver that says when it will be back isn't asked sooner, but it can't put off more than the schedule does.
    """
    if answer.error is None:
        return Outcome("delivered", failed_before, None)
    if answer.status == _GONE or failed_before >= len(delays_seconds):
        return Outcome("gave up", failed_before + 1, None)
    delay_seconds = delays_seconds[failed_before] * (1 + _JITTER * (2 * chance - 1))
    asked_seconds = min(answer.retry_after_seconds or 0.0, max(delays_seconds))
    return Outcome("waiting", failed_before + 1, now + max(delay_seconds, asked_seconds))
