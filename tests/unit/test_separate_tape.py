"""The second decode of a song, read window by window: the very samples, and no more of them in memory than needed."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.errors import InternalError
from streamsrv.separate.tape import Tape

LENGTH = 200_000  # several reads
SONG = np.random.default_rng(0).normal(0, 0.3, (2, LENGTH)).astype(np.float32)
MEAN, STD = 0.125, 0.5


class Source:
    """Gives a song's bytes, as a decoder does; counts what was asked for."""

    def __init__(self, song: np.ndarray) -> None:
        self.data = song.T.astype("<f4").tobytes()
        self.position = 0

    async def read(self, count: int) -> bytes:
        part = self.data[self.position : self.position + count]
        self.position += len(part)
        return part


def tape_of(song: np.ndarray = SONG, length: int = LENGTH) -> tuple[Tape, Source]:
    source = Source(song)
    return Tape(source.read, channels=2, length=length, mean=MEAN, std=STD), source


def piece(begin: int, end: int) -> np.ndarray:
    normal = (SONG - np.float32(MEAN)) / np.float32(STD + 1e-8)
    return np.pad(normal[:, max(0, begin) : end], ((0, 0), (max(0, -begin), 0)))


WALKS = st.lists(st.tuples(st.integers(0, 90_000), st.integers(1, 70_000)), min_size=1, max_size=12)


@given(WALKS, st.integers(0, 50_000))
async def test_pieces_are_the_song(walk: Sequence[tuple[int, int]], history: int) -> None:
    """Whatever pieces are taken, each further on but for a bounded step back, they are the song, normalised."""
    tape, _ = tape_of()
    furthest = -1000
    for step, length in walk:
        begin = min(LENGTH - 1, max(-1000, furthest - history + step))
        end = max(1, min(LENGTH, begin + length))
        assert np.allclose(await tape.take(begin, end, history=history), piece(begin, end), atol=1e-6)
        furthest = max(furthest, begin)


async def test_only_what_is_needed_is_read_and_kept() -> None:
    """The decoder isn't read far ahead of what is taken, and what lies behind the history is let go."""
    tape, source = tape_of()
    for begin in range(0, 150_000, 10_000):
        await tape.take(begin, begin + 20_000, history=5_000)
        assert source.position <= (begin + 20_000 + (1 << 16)) * 8
        assert tape._kept.shape[1] <= 20_000 + 5_000 + (1 << 16)


async def test_a_song_may_begin_with_silence() -> None:
    """Before its start a song is silent as the model hears it, not as loud as its mean."""
    tape, _ = tape_of()
    taken = await tape.take(-300, 100, history=0)
    assert not taken[:, :300].any()
    assert np.allclose(taken, piece(-300, 100), atol=1e-6)


async def test_what_is_restored_is_as_loud_as_the_song() -> None:
    """What was taken comes back at its own level."""
    tape, _ = tape_of()
    taken = await tape.take(0, 1000, history=0)
    assert np.allclose(tape.restored(taken), SONG[:, :1000], atol=1e-6)


@pytest.mark.parametrize("off", [-1, 1])
async def test_another_song_is_noticed(off: int) -> None:
    """A song that is shorter or longer than it was measured is an error, never silently cut or filled."""
    tape, _ = tape_of(length=LENGTH + off)

    async def whole() -> None:
        await tape.take(0, LENGTH + off, history=0)
        await tape.check_end()

    with pytest.raises(InternalError, match="longer" if off < 0 else "shorter"):
        await whole()


async def test_the_end_is_found_from_anywhere() -> None:
    """A song of which only a part was wanted is read to its end, which must be where it was."""
    tape, source = tape_of()
    await tape.take(0, 10, history=0)
    await tape.check_end()
    assert source.position == len(source.data)
