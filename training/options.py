"""What the commands' options may be, and how a command tells what went wrong: in one line, without a traceback."""

import math
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

# numpy takes no negative seed, torch none of more than 64 bits.
SEED = click.IntRange(0, 2**32 - 1)
# What is shorter sounds like nothing: a song has a tune, and a model hears in windows of a tenth of a second.
LEAST_SONG_SECONDS = 1.0
_LEAST_SEGMENT = Fraction(1, 10)


class FiniteRange(click.FloatRange):
    """A number between bounds. Unlike in click, NaN isn't between any, and infinity isn't one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises click.BadParameter."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is no finite number.", param, ctx)
        return number


class Segment(click.ParamType[Fraction]):
    """Seconds as a number or a fraction: 4, 7.8 or 39/5."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        """Raises click.BadParameter."""
        try:
            seconds = Fraction(value)
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is no number and no fraction.", param, ctx)
        if seconds < _LEAST_SEGMENT:
            self.fail(f"{value} is less than {_LEAST_SEGMENT} of a second.", param, ctx)
        return seconds


def weights_file(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """The callback of an option that is a model to write."""
    if value.suffix != ".safetensors":
        raise click.BadParameter(f"{value.name} isn't NAME.safetensors, by which Demucs knows a model.", ctx, param)
    return value


@contextmanager
def told() -> Iterator[None]:
    """Within the block an error of files or of what is in them ends the command with a line that says what it is."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{where}{error.strerror or error}") from error
    except ValueError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Within the block SIGTERM is an exit as any other: who opened something closes it."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
