"""What is trained: small shapes of Demucs's HTDemucs, the average of its weights over time, and how CPUs are told."""

import ctypes
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from demucs.hf import load_safetensors_model
from demucs.htdemucs import HTDemucs
from safetensors import SafetensorError

from training.songs.score import RATE, STEMS

State = dict[str, torch.Tensor]

# Each fits in 10 MB as float16: 3.1 to 4.9 million weights.
SHAPES: dict[str, dict[str, Any]] = {
    "c24": {"channels": 24, "t_layers": 2, "bottom_channels": 128, "t_heads": 4},
    "c24-light": {"channels": 24, "t_layers": 2, "bottom_channels": 128, "t_heads": 4, "dconv_depth": 1},
    "c32": {"channels": 32, "t_layers": 2, "bottom_channels": 128, "t_heads": 4, "dconv_depth": 1},
}
# malloc.h, mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGEST_BYTES = -1, -3, 1 << 30
_MOST_DECAY = 0.999
# What Demucs makes of a file that is cut off, has no facts about its model, or those of another class.
_DAMAGES = (SafetensorError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, ImportError)


def arguments(shape: str, segment: Fraction) -> dict[str, Any]:
    """What HTDemucs is made with; `segment` in seconds is how long its pieces are, in training and after."""
    return {"sources": list(STEMS), "samplerate": RATE, "segment": segment, **SHAPES[shape]}


def build(made_with: dict[str, Any], seed: int) -> Any:
    """An HTDemucs that has learnt nothing, the same one for the same seed."""
    torch.manual_seed(seed)
    return HTDemucs(**made_with)


def load_model(file: Path) -> Any:
    """The model in a file, NAME.safetensors. Raises ValueError for a file that holds none."""
    try:
        return load_safetensors_model(file)
    except _DAMAGES as error:
        raise ValueError(f"{file} is damaged, or no model of Demucs.") from error


def weights_of(file: Path, made_with: dict[str, Any]) -> State:
    """The weights of a model that was exported. Raises ValueError where it is made with anything else."""
    model = load_model(file)
    own, wanted = model.state_dict(), build(made_with, 0).state_dict()
    if model.segment != made_with["segment"] or {n: w.shape for n, w in own.items()} != {
        name: weight.shape for name, weight in wanted.items()
    }:
        raise ValueError(f"{file} is a model of another shape or segment.")
    return {name: weight.float() for name, weight in own.items()}


def averaged(average: State, model: HTDemucs, step: int) -> None:
    """Move the average of the weights, in place, towards those of the model after a step, counted from 0."""
    decay = min(_MOST_DECAY, (1 + step) / (10 + step))
    for name, weight in model.state_dict().items():
        average[name].lerp_(weight, 1 - decay)


def copied(state: State) -> State:
    """The weights where they are, on their own."""
    return {name: weight.detach().clone() for name, weight in state.items()}


def pick_device(wanted: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises ValueError for cuda where there is none."""
    if wanted == "cpu" or torch.cuda.is_available():
        return torch.device("cpu" if wanted == "cpu" else "cuda")
    if wanted == "cuda":
        raise ValueError("There is no GPU here that PyTorch can use: try --device cpu.")
    return torch.device("cpu")


def pick_precision(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the device computes with it; elsewhere it would be slower than float32."""
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else torch.float32
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if able else torch.float32


def set_up_cpu(threads: int) -> None:
    """Compute with so many threads, and keep the memory of one step for the next.

    glibc would give the large blocks back to the system after each step and get them anew: a quarter of the time.
    """
    torch.set_num_threads(threads)
    # Numbers that are nearly zero take many times as long.
    torch.set_flush_denormal(True)
    with suppress(AttributeError, OSError):  # another libc
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST_BYTES)
