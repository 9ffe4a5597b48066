"""Sound that a file should have and hasn't: told, or put up with."""

from typing import Any

import pytest

from streamsrv.errors import DamagedFile
from streamsrv.media.cut import WHOLE, Cut
from streamsrv.media.ffmpeg import Outcome
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.integrity.loss import STRICT, TOLERANT, Terms, check_loss, check_size
from streamsrv.media.integrity.structure import NO_DAMAGE, Damage

GOOD = Outcome(0, 441000, 441000, 470, (), sample_rate=44100)
CUT_SHORT = Outcome(0, 441000, 441000, 470, ("File ended prematurely",), sample_rate=44100)
FRAME = 0.024


@pytest.mark.parametrize(
    ("settings", "lost_seconds", "words"),
    [
        ({"damage": Damage(0.048, FRAME)}, 0.048, "missing in the middle of the file, about 0.048 s"),
        ({"damage": Damage(FRAME, FRAME)}, FRAME, "missing in the middle"),
        ({"damage": Damage(2.0, FRAME), "declared": Declared(12.1, 0.05)}, 2.1, "missing in the middle"),
        ({"declared": Declared(12.0, 0.25)}, 2.0, "ends in the middle: of the 0:12"),
        ({"damage": Damage(0.1, FRAME), "declared": Declared(15.0, 0.25)}, 5.0, "ends in the middle"),
        ({"missing_share": 0.5}, 10.0, "ends in the middle, after 0:10"),
        ({"outcome": CUT_SHORT}, 0.02, "ends in the middle, after 0:10"),
    ],
)
def test_what_is_missing_is_told_or_counted(settings: dict[str, Any], lost_seconds: float, words: str) -> None:
    """Strict terms refuse it in words that say where, tolerant ones say how much."""
    missing_share, outcome = settings.pop("missing_share", 0.0), settings.pop("outcome", GOOD)
    with pytest.raises(DamagedFile, match=words) as caught:
        check_loss(outcome, terms=Terms(tolerates=False, missing_share=missing_share), **settings)
    assert "errors=tolerate" in caught.value.detail
    assert caught.value.members == {"lost_seconds": pytest.approx(lost_seconds)}
    tolerant = Terms(tolerates=True, missing_share=missing_share)
    assert check_loss(outcome, terms=tolerant, **settings) == pytest.approx(lost_seconds)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"damage": NO_DAMAGE, "declared": Declared(10.04, 0.05)},
        {"damage": Damage(0.01, FRAME)},
        {"declared": Declared(60.0, 0.005), "cut": Cut(1.0, 9.0)},
    ],
)
def test_what_is_whole_passes(settings: dict[str, Any]) -> None:
    """Less than a frame is a rounding of times, and what lies behind the cut isn't asked for."""
    for terms in (STRICT, TOLERANT):
        assert check_loss(GOOD, terms=terms, **{"cut": WHOLE, **settings}) == 0.0


def test_a_file_that_is_shorter_than_it_says_is_told_or_counted() -> None:
    """What states its own size has it, or the share that is missing is known."""
    for promised, there in ((None, 0), (1000, 1000), (1000, 1001)):
        assert check_size(promised, there) == STRICT
    with pytest.raises(DamagedFile, match="1 of 1000 bytes are missing"):
        check_size(1000, 999)
    assert check_size(1000, 750, TOLERANT) == Terms(tolerates=True, missing_share=0.25)
