"""`python -m training.export RUN OUT.safetensors`: what a training has come to, as Demucs and the server read it."""

import json
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import torch
from demucs.htdemucs import HTDemucs
from safetensors import safe_open
from safetensors.torch import save

from training.checkpoint import Checkpoint, load
from training.network import load_model
from training.options import told, weights_file

# What a checkpoint counts in seconds, and is in hours beside the weights.
_HOURS = {"audio_seconds": "audio_hours", "seconds": "training_hours"}


def export(checkpoint: Checkpoint, file: Path) -> None:
    """Write the averaged weights as float16 with all that their model is made with, and facts about the training.

    Demucs reads the names that it knows, others are for people. Raises ValueError if it reads anything else than that.
    """
    half = {name: weight.to("cpu", torch.float16).contiguous() for name, weight in checkpoint.average.items()}
    partial = file.with_name(f"{file.name}.partial")
    try:
        partial.write_bytes(save(half, _metadata(checkpoint)))
        read = load_model(partial).state_dict()
        if read.keys() != half.keys() or not all(torch.equal(read[name], half[name].float()) for name in half):
            raise ValueError("Demucs doesn't read what was written.")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def done_for(file: Path) -> dict[str, float]:
    """What was done for a model that was exported, as a checkpoint counts it; nothing of one that isn't ours."""
    with safe_open(file, "pt") as opened:
        facts = json.loads((opened.metadata() or {}).get("training", "{}"))
    return {"step": facts.get("steps", 0), **{name: facts.get(head, 0) * 3600 for name, head in _HOURS.items()}}


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    done = checkpoint.done
    facts = {
        "streamsrv_version": version("streamsrv"),
        "steps": done["step"],
        **{head: round(done[name] / 3600, 2) for name, head in _HOURS.items()},
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
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), callback=weights_file)
def main(run: Path, out: Path) -> None:
    """Write the model that the training in the folder RUN has come to as OUT, a .safetensors."""
    with told():
        checkpoint = load(run)
        if checkpoint is None:
            raise click.ClickException(f"There is no training in {run}.")
        export(checkpoint, out)
    click.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB, of step {checkpoint.step}")


if __name__ == "__main__":
    main()
