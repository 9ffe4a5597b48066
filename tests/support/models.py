"""Demucs models with random weights, small enough for tests: a folder of them is made in a moment.

What they make of a song has nothing to do with music, but each stem sounds, and none like another.
"""

import json
from pathlib import Path

import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.states import save_with_checksum
from safetensors.torch import save_file
from torch import nn

FOUR = ["drums", "bass", "other", "vocals"]
SIX = [*FOUR, "guitar", "piano"]
SEGMENT_SECONDS = 1
# As loud as the song, about.
LOUDNESS = 0.5

_SMALL = {"channels": 4, "depth": 3, "dconv_comp": 2, "samplerate": 44100, "segment": SEGMENT_SECONDS}
_KINDS = {
    HTDemucs: {**_SMALL, "nfft": 1024, "t_layers": 2, "t_heads": 2},
    HDemucs: {**_SMALL, "nfft": 1024, "depth": 5, "dconv_attn": 3, "dconv_lstm": 3},
    Demucs: {**_SMALL, "dconv_attn": 2, "dconv_lstm": 2},
}


def small_model(kind: type = HTDemucs, *, sources: list[str] = FOUR, seed: int = 0, **changes: object) -> nn.Module:
    """A model of one of Demucs's three kinds; the same for the same arguments, as loud as `LOUDNESS` says."""
    torch.set_num_threads(1)  # more would spin beside whatever else runs
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(sources, **{**_KINDS[kind], **changes}).eval()
        noise = 0.2 * torch.randn(1, model.audio_channels, int(model.segment * model.samplerate))
    last = [model.decoder[-1][-1]] if kind is Demucs else [model.decoder[-1].conv_tr, model.tdecoder[-1].conv_tr]
    with torch.no_grad():
        # Much of it comes through branches that a training would have opened.
        for name, scale in model.named_parameters():
            if name.endswith("scale") and scale.dim() == 1:
                scale.fill_(0.2)
        for layer in last:
            layer.bias.zero_()
        gain = LOUDNESS * noise.std() / model(noise).std(dim=-1).mean()
        for layer in last:
            layer.weight *= gain
    return model


def save_pickle(folder: Path, signature: str, model: nn.Module) -> None:
    """As SIGNATURE-CHECKSUM.th, which is how Demucs gives its models away."""
    args, kwargs = vars(model)["_init_args_kwargs"]  # Demucs notes what a model was made with
    package = {"klass": type(model), "args": args, "kwargs": kwargs, "state": model.state_dict()}
    save_with_checksum(package, folder / f"{signature}.th")


def save_safe(folder: Path, signature: str, model: nn.Module) -> None:
    """As SIGNATURE.safetensors, as Demucs's hub has them."""
    args, kwargs = vars(model)["_init_args_kwargs"]  # Demucs notes what a model was made with
    kind = type(model)
    described = {
        "klass": f"{kind.__module__}.{kind.__qualname__}",
        "args": json.dumps(args),
        "kwargs": json.dumps(kwargs),
    }
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / f"{signature}.safetensors", metadata=described)


def save_bag(
    folder: Path, name: str, signatures: list[str], *, weights: object = None, segment: float | None = None
) -> None:
    """As NAME.yaml; JSON is YAML, too."""
    bag = {"models": signatures, "weights": weights, "segment": segment}
    written = json.dumps({key: value for key, value in bag.items() if value is not None})
    (folder / f"{name}.yaml").write_text(written, encoding="utf-8")


def tiny_repo(folder: Path) -> Path:
    """A folder of models for a server's tests: `tiny` has four stems, `tiny6` six; windows of a second."""
    folder.mkdir(parents=True, exist_ok=True)
    save_pickle(folder, "7e570001", small_model())
    save_pickle(folder, "7e570002", small_model(sources=SIX, seed=1))
    save_bag(folder, "tiny", ["7e570001"])
    save_bag(folder, "tiny6", ["7e570002"])
    return folder
