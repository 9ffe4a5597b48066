"""The tries of a webhook: signatures, what an answer means, and when the next try follows."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from streamsrv.outbound.tries import Answer, Outcome, WebhookLimits, judge, read_answer, sign, webhook_secret

NOW, DELAYS = 1_000_000.0, (5.0, 30.0, 120.0)
BODY = json.dumps({"name": "é"}).encode()


def test_receivers_can_check_a_signature() -> None:
    """The library that receivers use takes it, and refuses another body, id or secret."""
    secret = webhook_secret(b"s" * 32)
    headers = sign(Webhook(secret), "msg_1", BODY, time.time())
    assert Webhook(secret).verify(BODY, headers) == {"name": "é"}
    other = Webhook(webhook_secret(b"t" * 32))
    for verifier, body, changed in (
        (Webhook(secret), BODY + b" ", {}),
        (Webhook(secret), BODY, {"webhook-id": "msg_2"}),
        (other, BODY, {}),
    ):
        with pytest.raises(WebhookVerificationError):
            verifier.verify(body, headers | changed)


def test_the_secret_is_derived() -> None:
    """The same for the same server, another for another, and the server's own can't be read from it."""
    assert webhook_secret(b"one") == webhook_secret(b"one") != webhook_secret(b"two")
    assert webhook_secret(b"one").startswith("whsec_")
    assert len(webhook_secret(b"one")) == len("whsec_") + 44


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_is_delivered(status: int) -> None:
    """Whatever the receiver says with it, and whatever failed before."""
    assert judge(read_answer(status, {"Retry-After": "9"}), 2, DELAYS, NOW, 0.5) == Outcome("delivered", 2, None)


@pytest.mark.parametrize("status", [199, 301, 302, 307, 400, 404, 429, 500, 503])
def test_everything_else_is_tried_again(status: int) -> None:
    """A redirect, too: nobody is sent anywhere. The words name the status."""
    answer = read_answer(status, {"Location": "http://other.example/"})
    assert str(status) in (answer.error or "")
    assert judge(answer, 0, DELAYS, NOW, 0.5) == Outcome("waiting", 1, NOW + 5)


def test_gone_is_final() -> None:
    """A receiver that says 410 isn't asked again."""
    assert judge(read_answer(410, {"Retry-After": "9"}), 0, DELAYS, NOW, 0.5) == Outcome("gave up", 1, None)


def test_the_schedule_is_followed_to_its_end() -> None:
    """Each failure waits for its delay, and the last one ends it: one try more than there are delays."""
    failed = Answer(None, "no")
    outcomes = [judge(failed, failures, DELAYS, NOW, 0.5) for failures in range(4)]
    assert [outcome.next_at for outcome in outcomes] == [NOW + 5, NOW + 30, NOW + 120, None]
    assert [outcome.state for outcome in outcomes] == ["waiting", "waiting", "waiting", "gave up"]
    assert judge(failed, 0, (), NOW, 0.5).state == "gave up"


@given(chance=st.floats(0, 1), failures=st.integers(0, 7))
def test_delays_are_spread(chance: float, failures: int) -> None:
    """By a fifth up or down."""
    delays = WebhookLimits().delays_seconds
    next_at = judge(Answer(500, "no"), failures, delays, 0.0, chance).next_at
    assert next_at == pytest.approx(delays[failures] * (0.8 + 0.4 * chance))


@pytest.mark.parametrize(
    ("asked", "waited"), [("60", 60), ("1", 5), ("121", 120), ("999999999999999999", 120), ("soon", 5), ("-1", 5)]
)
def test_a_receiver_may_ask_for_time(asked: str, waited: float) -> None:
    """It isn't asked sooner than it wants, nor sooner than the schedule says, nor put off for longer than that."""
    assert judge(read_answer(503, {"Retry-After": asked}), 0, DELAYS, NOW, 0.5).next_at == NOW + waited


@given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,4} \d\d:\d\d:\d\d [+-]\d{4}"))
def test_any_header_can_be_read(asked: str) -> None:
    """What a receiver writes there is never an error of ours."""
    assert judge(read_answer(503, {"Retry-After": asked}), 0, DELAYS, NOW, 0.5).state == "waiting"
