"""What a process of the pool does for a song: it loads a model and separates windows. So does the command line.

The server names these functions without having torch: it is imported when one of them runs.
"""
# ruff: noqa: PLC0415

import ctypes
import functools
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsrv.errors import InternalError, MissingModel
from streamsrv.separate.settings import ModelInfo, ModelSpec, Part, Span, WindowReport
from streamsrv.separate.weights import load_model
from streamsrv.workers.arrays import ArrayRef, opened

if TYPE_CHECKING:
    import torch

Samples = NDArray[np.float32]

_MOST_CHANNELS = 2
# malloc.h, mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGEST_BYTES = -1, -3, 1 << 30


def describe(spec: ModelSpec) -> ModelInfo:
    """Load the model, which is kept, and tell what it is like. MissingModel says in words what to do."""
    return _load(spec).info


def run_windows(spec: ModelSpec, part: int, pieces: ArrayRef, spans: Sequence[Span], out: ArrayRef) -> WindowReport:
    """`separate` for arrays that the server shares; raises what `opened` raises when they are gone."""
    with opened(pieces) as given, opened(out) as made:
        return separate(spec, part, given, spans, made)


def separate(spec: ModelSpec, part: int, pieces: Samples, spans: Sequence[Span], out: Samples) -> WindowReport:
    """Separate the windows `spans` of `pieces` [batch, channels, samples] as `demucs.apply.apply_model` does.

    Into `out` [batch, sources, channels, segment] goes what this part of a bag has to do with the result: of each row
    as many samples as its window is long, the others stay as they are.
    """
    began = time.monotonic()
    loaded = _load(spec)
    ready = time.monotonic()
    _run(_Run(loaded, loaded.info.parts[part], spec.precision == "bfloat16"), pieces, spans, out)
    device = os.environ.get("STREAMSRV_DEVICE", loaded.device)
    return WindowReport(device, time.monotonic() - ready, ready - began)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model on its device. `weights` [models, sources]: what each model of a bag has to say, 1 in all."""

    info: ModelInfo
    models: tuple[Any, ...]
    weights: Samples
    device: str


@dataclass(frozen=True, slots=True)
class _Run:
    loaded: _Loaded
    part: Part
    is_rough: bool


def _run(run: _Run, pieces: Samples, spans: Sequence[Span], out: Samples) -> None:
    if _fits(run, pieces, spans, out):
        return
    half = len(spans) // 2
    if not half:
        raise InternalError("The device has too little memory for a window of this model.")
    _run(run, pieces[:half], spans[:half], out[:half])
    _run(run, pieces[half:], spans[half:], out[half:])


def _fits(run: _Run, pieces: Samples, spans: Sequence[Span], out: Samples) -> bool:
    """Separate the windows at once; False where the device has too little memory for that."""
    import torch

    with (
        suppress(torch.OutOfMemoryError),
        torch.inference_mode(),
        torch.autocast(run.loaded.device, torch.bfloat16, enabled=run.is_rough),
    ):
        _separate(run, torch.from_numpy(pieces), spans, torch.from_numpy(out))
        return True
    torch.cuda.empty_cache()  # what was raised, and held tensors, is gone by now
    return False


def _separate(run: _Run, pieces: "torch.Tensor", spans: Sequence[Span], out: "torch.Tensor") -> None:
    for row, span in enumerate(spans):
        out[row, ..., : span.length] = 0
    for number in run.part.models:
        weights = run.loaded.weights[number]
        heard = [source for source, weight in enumerate(weights) if weight]
        for row, stems in _stems(run.loaded.models[number], run.loaded.device, pieces, spans):
            length = spans[row].length
            for source in heard:
                out[row, source, :, :length] += (stems[source] * float(weights[source])).cpu()


def _stems(
    model: Any, device: str, pieces: "torch.Tensor", spans: Sequence[Span]
) -> Iterator[tuple[int, "torch.Tensor"]]:
    """Give for each row what the model makes of its window, [sources, channels, span.length]."""
    import torch
    from demucs.apply import TensorChunk
    from demucs.utils import center_trim

    window_of: Any = TensorChunk  # it has no types
    windows = [window_of(pieces[row : row + 1], span.left, span.length) for row, span in enumerate(spans)]
    padded = [window.padded(_valid_length(model, window.length)) for window in windows]
    for _, group in itertools.groupby(range(len(spans)), key=lambda row: padded[row].shape[-1]):
        rows = list(group)
        made = model(torch.cat([padded[row] for row in rows]).to(device)).float()
        for row, stems in zip(rows, made, strict=True):
            yield row, center_trim(stems, spans[row].length)


def _valid_length(model: Any, length: int) -> int:
    """So many samples the model wants to see for a window: `length`, or more where it needs context."""
    return int(model.valid_length(length)) if hasattr(model, "valid_length") else length


@functools.lru_cache(maxsize=2)
def _load(spec: ModelSpec) -> _Loaded:
    model = load_model(spec.name, spec.repo, download=spec.download)
    _settle()
    import torch

    from streamsrv.separate.kernels import can_quicken, quicken

    device = "cuda" if os.environ.get("CUDA_VISIBLE_DEVICES") and torch.cuda.is_available() else "cpu"
    model.eval().requires_grad_(requires_grad=False).to(device)
    if device == "cpu" and spec.precision == "float32" and can_quicken():
        quicken(model)
    return _looked_into(spec.name, model, device)


def _settle() -> None:
    """Make torch quick and foreseeable: as many threads as were told, full floats, the same kernels each time."""
    # Tensors of 33 MB come and go all the time. What the kernel gets back it has to clear page by page when it gives it
    # again: that took a fifth of the time.
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
    libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST_BYTES)
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    # The "fast path" is slower than attention by blocks.
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False


def _looked_into(name: str, model: Any, device: str) -> _Loaded:
    models = tuple(getattr(model, "models", (model,)))
    weights = np.array(getattr(model, "weights", None) or [[1.0] * len(model.sources)], np.float64)
    totals = weights.sum(axis=0)
    if not totals.all():
        raise MissingModel(f"The model {name} is of no use: nothing in it has a weight for one of its stems.")
    if model.audio_channels > _MOST_CHANNELS:
        raise MissingModel(f"The model {name} has {model.audio_channels} channels; this server separates stereo.")
    parts: dict[int, list[int]] = {}
    for number, (one, its_weights) in enumerate(zip(models, weights, strict=True)):
        if its_weights.any():
            parts.setdefault(int(model.samplerate * one.segment), []).append(number)
    info = ModelInfo(
        name=name,
        sources=tuple(model.sources),
        sample_rate=int(model.samplerate),
        channels=int(model.audio_channels),
        parts=tuple(_part(models, numbers, segment) for segment, numbers in parts.items()),
    )
    return _Loaded(info, models, (weights / totals).astype(np.float32), device)


def _part(models: Sequence[Any], numbers: Sequence[int], segment: int) -> Part:
    fixed = [number for number in numbers if getattr(models[number], "use_train_segment", False)]
    margins = [_margin(models[number], segment) for number in numbers if number not in fixed]
    return Part(models=tuple(numbers), segment=segment, margin=max(margins, default=0), fixed=bool(fixed))


def _margin(model: Any, segment: int) -> int:
    """The most context that a window of up to `segment` samples needs on a side; it falls, then rises, by steps."""
    length, most = 1, 0
    while length <= segment:
        valid = _valid_length(model, length)
        most = max(most, valid - length)
        length = max(length, valid) + 1
    return most - most // 2
