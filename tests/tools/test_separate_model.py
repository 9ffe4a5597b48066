"""Windows separated one by one and put together, against `demucs.apply.apply_model` on the whole song."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from demucs.apply import apply_model
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.pretrained import get_model
from support.models import SIX, save_bag, save_pickle, small_model
from support.spread import thoroughly
from torch import nn

from streamsrv.errors import InternalError
from streamsrv.separate import model
from streamsrv.separate.kernels import can_quicken, quicken
from streamsrv.separate.model import describe, run_windows, separate
from streamsrv.separate.overlap import Blend, leads, passes_of, steps
from streamsrv.separate.settings import ModelSpec, Precision, Span
from streamsrv.workers.arrays import SharedArray
from streamsrv.workers.devices import cpu_devices
from streamsrv.workers.pool import DevicePool

RATE = 44100
EXACT = 1e-5
BAGS = {
    "plain": ({"htdemucs": HTDemucs}, None, None),
    "weighted": ({"htdemucs": HTDemucs, "again": HTDemucs}, [[1.0, 0.0, 2.0, 0.5], [0.0, 3.0, 1.0, 0.5]], None),
    "one_each": ({"htdemucs": HTDemucs, "again": HTDemucs}, [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]], None),
    "unheard": ({"htdemucs": HTDemucs, "again": HTDemucs}, [[1.0] * 4, [0.0] * 4], None),
    "shorter": ({"htdemucs": HTDemucs}, None, 0.7),
    "hybrid": ({"hdemucs": HDemucs}, None, 1.5),
    "time": ({"demucs": Demucs}, None, None),
    "mixed": ({"hdemucs": HDemucs, "demucs": Demucs}, [[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]], 1.3),
    "unlike": ({"htdemucs": HTDemucs, "hdemucs": HDemucs}, None, 1.2),
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: singles of each kind, and all BAGS of them."""
    folder = tmp_path_factory.mktemp("models")
    for number, (name, kind) in enumerate({"htdemucs": HTDemucs, "again": HTDemucs, "hdemucs": HDemucs}.items()):
        save_pickle(folder, name, small_model(kind, seed=number))
    save_pickle(folder, "demucs", small_model(Demucs, depth=4))
    save_pickle(folder, "six", small_model(sources=SIX))
    save_pickle(folder, "mono", small_model(audio_channels=1))
    save_pickle(folder, "free", small_model(use_train_segment=False))
    for name, (models, weights, segment) in BAGS.items():
        save_bag(folder, name, list(models), weights=weights, segment=segment)
    return folder


def spec_of(repo: Path, name: str, precision: Precision = "float32") -> ModelSpec:
    return ModelSpec(name=name, repo=repo, download=False, precision=precision)


def song_of(seconds: float, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Noise whose loudness comes and goes, differently in each channel."""
    chance = np.random.default_rng(seed)
    samples = int(seconds * RATE)
    swell = np.cos(np.arange(samples) / RATE * np.array([[3.0], [5.0]])[:channels]) ** 2
    return (swell * chance.normal(0, 0.5, (channels, samples))).astype(np.float32)


def piece_of(song: np.ndarray, begin: int, end: int) -> np.ndarray:
    return np.pad(song[:, max(0, begin) : end], ((0, 0), (max(0, -begin), 0)))


def streamed(
    spec: ModelSpec, song: np.ndarray, *, overlap: float = 0.25, silences: tuple[int, ...] = (0,), since: int = 0
) -> np.ndarray:
    """The driver of the server, without its pool: one window after the other."""
    info = describe(spec)
    passes = passes_of(info.parts, silences, overlap, song.shape[-1])
    blend = Blend(passes, len(info.sources), info.channels, since)
    stretches = []
    for step in steps(passes, info.parts, since):
        piece = piece_of(song, step.begin, step.end)[None]
        out = np.zeros((1, len(info.sources), info.channels, info.parts[step.part].segment), np.float32)
        separate(spec, step.part, piece, (step.span,), out)
        stretches.append(blend.add(step, out[0, ..., : step.span.length]))
    return np.concatenate(stretches, axis=-1)


def whole(repo: Path, name: str, song: np.ndarray, overlap: float = 0.25) -> np.ndarray:
    """What Demucs makes of it, with torch as it is when nobody has changed its settings."""
    torch.backends.mha.set_fastpath_enabled(True)
    with torch.no_grad():
        made = apply_model(get_model(name, repo), torch.from_numpy(song)[None], shifts=0, overlap=overlap)[0].numpy()
    torch.backends.mha.set_fastpath_enabled(False)
    return made


def worst(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max())


@pytest.mark.parametrize("seconds", [0.01, 0.9999, 1.0, 1.0001, 2.76, *thoroughly(0.4, 1.3, 20.0)])
def test_windows_make_the_whole(repo: Path, seconds: float) -> None:
    """A song of any length, in windows, gives what Demucs gives of the whole song."""
    song = song_of(seconds)
    theirs = whole(repo, "plain", song)
    assert worst(streamed(spec_of(repo, "plain"), song), theirs) <= EXACT
    assert np.abs(theirs).max() > 1000 * EXACT


@pytest.mark.parametrize(
    ("name", "overlap"),
    [
        *(("plain", 0.0), ("plain", 0.75), ("time", 0.1), ("hybrid", 0.5)),
        *thoroughly(*((name, overlap) for name in ("time", "hybrid") for overlap in (0.0, 0.75))),
        *thoroughly(("plain", 0.1), ("plain", 0.5), ("time", 0.5), ("hybrid", 0.1)),
    ],
)
def test_any_overlap(repo: Path, name: str, overlap: float) -> None:
    """So it is with each overlap and each kind of model."""
    song = song_of(3.3)
    assert worst(streamed(spec_of(repo, name), song, overlap=overlap), whole(repo, name, song, overlap)) <= EXACT


@pytest.mark.parametrize("name", [*BAGS, "six", "mono", "free"])
def test_any_model(repo: Path, name: str) -> None:
    """So it is with bags, weights, six stems, one channel, other segments, and models that take windows as they are."""
    for seconds in (0.05, 2.83):
        song = song_of(seconds, describe(spec_of(repo, name)).channels)
        assert worst(streamed(spec_of(repo, name), song), whole(repo, name, song)) <= EXACT


@pytest.mark.thorough
def test_shifts_are_those_of_demucs(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the shifts that Demucs draws by chance, the average of all passes is Demucs's, in bags and alone."""
    song, silences = song_of(2.2), leads("a5" * 32, 2, RATE)
    for name in ("plain", "time", "unlike"):
        drawn = iter([RATE // 2 - lead for lead in silences] * 2)  # for each model of the bag
        monkeypatch.setattr("demucs.apply.random.randint", lambda *_, drawn=drawn: next(drawn))
        with torch.no_grad():
            theirs = apply_model(get_model(name, repo), torch.from_numpy(song)[None], shifts=2)[0].numpy()
        assert worst(streamed(spec_of(repo, name), song, silences=silences), theirs) <= EXACT


@pytest.mark.parametrize("name", ["plain", "unlike", *thoroughly("time")])
def test_it_goes_on_bit_for_bit(repo: Path, name: str) -> None:
    """A song that is resumed anywhere gives the very bits that one run gives."""
    song, silences = song_of(2.9), leads("a5" * 32, 2, RATE)
    uncut = streamed(spec_of(repo, name), song, silences=silences)
    for since in (1, 70_000, song.shape[-1] - 1):
        resumed = streamed(spec_of(repo, name), song, silences=silences, since=since)
        assert np.array_equal(resumed, uncut[..., since:])


def some_windows(batch: int, segment: int, channels: int = 2) -> tuple[np.ndarray, tuple[Span, ...]]:
    """Pieces of one length, the last window in them a short one."""
    pieces = np.stack([song_of(segment / RATE, channels, seed=number) for number in range(batch)])
    return pieces, (*[Span(0, segment)] * (batch - 1), Span(segment // 3, segment // 2))


@pytest.mark.parametrize("name", ["weighted", "time", *thoroughly("mixed")])
def test_a_batch_is_what_its_windows_are(repo: Path, name: str) -> None:
    """Several windows at once give what they give one by one; of a row no more is touched than its window."""
    info = describe(spec_of(repo, name))
    pieces, spans = some_windows(3, info.parts[0].segment)
    shape = (3, len(info.sources), info.channels, info.parts[0].segment)
    together, alone = np.full(shape, 9, np.float32), np.full(shape, 9, np.float32)
    separate(spec_of(repo, name), 0, pieces, spans, together)
    for row in range(3):
        one = slice(row, row + 1)
        separate(spec_of(repo, name), 0, pieces[one], spans[one], alone[one])
    assert worst(together, alone) <= EXACT
    assert (together[-1, ..., spans[-1].length :] == 9).all()
    assert (together[:-1] != 9).all()


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


async def test_each_process_makes_the_same(repo: Path) -> None:
    """The same window gives the same bits in this process, in another and in a third, and each time."""
    spec = spec_of(repo, "weighted")
    pieces, spans = some_windows(2, RATE)
    digests = set()
    async with DevicePool(cpu_devices(2)) as pool:
        with SharedArray(pieces.shape) as given, SharedArray((2, 4, 2, RATE)) as made:
            given.array[...] = pieces
            for _ in range(3):
                made.array[...] = 0
                report = await pool.run(0, run_windows, spec, 0, given.ref, spans, made.ref)
                assert report.device.startswith("cpu:")
                assert report.seconds > 0
                digests.add(digest(made.array))
    ours = np.zeros((2, 4, 2, RATE), np.float32)
    separate(spec, 0, pieces, spans, ours)
    assert digests == {digest(ours)}


def test_a_model_is_loaded_once(repo: Path) -> None:
    """The second task finds the model there; a report tells what loading took."""
    model._load.cache_clear()
    pieces, spans = some_windows(1, RATE)
    out = np.zeros((1, 4, 2, RATE), np.float32)
    first = separate(spec_of(repo, "plain"), 0, pieces, spans, out)
    again = separate(spec_of(repo, "plain"), 0, pieces, spans, out)
    assert first.loaded_seconds > 100 * again.loaded_seconds


@pytest.mark.parametrize("name", ["plain", "hybrid", "time"])
def test_rough_floats_are_near(repo: Path, name: str) -> None:
    """bfloat16 gives nearly the same, and no more than nearly."""
    song = song_of(1.4)
    exact = streamed(spec_of(repo, name), song)
    rough = streamed(spec_of(repo, name, "bfloat16"), song)
    assert 1e-6 < np.abs(rough - exact).max() < 0.1 * np.abs(exact).max()


def test_too_large_a_batch_is_halved(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a device has too little memory for all windows at once it takes fewer; for one window it must do."""
    real = model._separate

    def cramped(most: int) -> Callable[..., None]:
        def in_little_memory(run: Any, pieces: torch.Tensor, spans: tuple[Span, ...], out: torch.Tensor) -> None:
            if len(spans) > most:
                out.fill_(5)  # it got that far
                raise torch.OutOfMemoryError
            real(run, pieces, spans, out)

        return in_little_memory

    pieces, spans = some_windows(5, RATE)
    roomy, halved = np.zeros((5, 4, 2, RATE), np.float32), np.zeros((5, 4, 2, RATE), np.float32)
    separate(spec_of(repo, "plain"), 0, pieces, spans, roomy)
    monkeypatch.setattr(model, "_separate", cramped(2))
    separate(spec_of(repo, "plain"), 0, pieces, spans, halved)
    for row, span in enumerate(spans):
        assert worst(halved[row, ..., : span.length], roomy[row, ..., : span.length]) <= EXACT
    monkeypatch.setattr(model, "_separate", cramped(0))
    with pytest.raises(InternalError, match="too little memory"):
        separate(spec_of(repo, "plain"), 0, pieces, spans, halved)


@pytest.mark.skipif(not can_quicken(), reason="torch was built without oneDNN, so that no layer is ever replaced")
def test_quicker_layers_do_the_same() -> None:
    """All layers of a transformer are replaced, and what they give is as near to the truth as what torch's own give."""
    plain, quick = small_model(t_layers=4), small_model(t_layers=4)
    quicken(quick)
    assert not any(isinstance(layer, nn.Linear | nn.MultiheadAttention) for layer in quick.modules())
    transformer, quicker = plain.crosstransformer, quick.crosstransformer
    assert isinstance(transformer, nn.Module)
    assert isinstance(quicker, nn.Module)
    x, xt = torch.randn(2, 16, 8, 173), torch.randn(2, 16, 690)
    with torch.inference_mode():
        made, expected = quicker(x, xt), transformer(x, xt)
    for ours, theirs in zip(made, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=EXACT)
        assert not torch.equal(ours, torch.zeros_like(ours))
    attention = next(layer for layer in quick.modules() if type(layer).__name__ == "_Attention")
    with pytest.raises(ValueError, match="no masks"):
        attention(x, x, x)  # its weights are wanted, unless one says otherwise
