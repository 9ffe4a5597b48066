"""`python -m training.export RUN OUT.safetensors`: what a training has come to, as Demucs and the server read it."""

import json
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import torch
from demucs.hf import load_safetensors_model
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

from training.checkpoint import Checkpoint, load


def export(checkpoint: Checkpoint, file: Path) -> None:
    """Write the averaged weights as float16 with all that their model is made with, and facts about the training.

    Demucs reads the names that it knows, others are for people. Raises ValueError if it reads anything else than that.
    """
    half = {name: weight.to("cpu", torch.float16).contiguous() for name, weight in checkpoint.average.items()}
    partial = file.with_name(f"{file.name}.partial")
    save_file(half, partial, metadata=_metadata(checkpoint))
    read = load_safetensors_model(partial).state_dict()
    if read.keys() != half.keys() or not all(torch.equal(read[name], half[name].float()) for name in half):
        partial.unlink()
        raise ValueError("Demucs doesn't read what was written.")
    partial.replace(file)


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    facts = {
        "streamsrv_version": version("streamsrv"),
        "steps": checkpoint.step,
        "audio_hours": round(checkpoint.audio_seconds / 3600, 2),
        "training_hours": round(checkpoint.seconds / 3600, 2),
        "seed": checkpoint.seed,
    }
    return {
        "klass": f"{HTDemucs.__module__}.{HTDemucs.__qualname__}",
        "args": "[]",
        "kwargs": json.dumps({name: _as_demucs_writes(value) for name, value in checkpoint.made_with.items()}),
        "training": json.dumps(facts),
    }


def _as_demucs_writes(value: Any) -> Any:
    if isinstance(value, Fraction):
        return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
    return value


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def main(run: Path, out: Path) -> None:
    """Write the model that the training in the folder RUN has come to as OUT, a .safetensors."""
    checkpoint = load(run)
    if checkpoint is None:
        raise click.ClickException(f"There is no training in {run}.")
    export(checkpoint, out)
    click.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB, of step {checkpoint.step}")


if __name__ == "__main__":
    main()
