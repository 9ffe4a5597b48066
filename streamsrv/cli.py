"""The command line: `serve`, `models` and `doctor`."""

import asyncio
import sys
from pathlib import Path
from typing import NoReturn

import click
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamsrv import __version__
from streamsrv.app.separation import callback_secret, model_catalog
from streamsrv.config import Config, load_config
from streamsrv.doctor import IS_TO_COME, examine
from streamsrv.errors import Problem
from streamsrv.separate.catalog import BUILT_IN, says_offline
from streamsrv.separate.choice import AUTO, PREFERRED, choose
from streamsrv.separate.model import describe
from streamsrv.separate.settings import ModelSpec
from streamsrv.server import CannotStart, run

_OFFLINE = "Nothing is fetched while HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set."
# sysexits.h: something is wrong with the configuration, and trying again won't help.
_EX_CONFIG = 78

_PATH = click.Path(path_type=Path)
_CONFIG = click.option("--config", "file", metavar="FILE", type=_PATH, help="A TOML file of settings.")
_DATA_DIR = click.option(
    "--data-dir",
    metavar="DIR",
    type=_PATH,
    help="Where everything that lasts is kept; var, in the current directory, unless told otherwise.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="streamsrv")
def main() -> None:
    """A self-hosted audio server: upload a song, get it in another format or hear it while it is still being made.

    It extracts the audio of videos, too: from web servers, and from folders that extract.media_roots names. And it
    separates songs into vocals, drums, bass and the rest, on GPUs where there are any.

    Settings come from config/default.toml, then --config, then variables like STREAMSRV_JOBS__CONCURRENCY, then flags.
    """


@main.command()
@_CONFIG
@click.option("--host", "hosts", metavar="ADDRESS", multiple=True, help="An address to listen on; may be repeated.")
@click.option(
    "--port", "ports", metavar="NUMBER", multiple=True, type=int, help="A port, on each address; may be repeated."
)
@_DATA_DIR
@click.option("--adopt", is_flag=True, help="Start without the database of what was accepted before, and remove that.")
def serve(
    file: Path | None, hosts: tuple[str, ...], ports: tuple[int, ...], data_dir: Path | None, *, adopt: bool
) -> None:
    """Serve until interrupted.

    It listens on http://localhost:8080 unless told otherwise.
    """
    flags = {"hosts": list(hosts), "ports": list(ports), "data_dir": data_dir}
    config = _load(file, flags)
    try:
        run(config, adopts=adopt)
    except (CannotStart, Problem) as error:
        _give_up(str(error))


@main.group()
def models() -> None:
    """See which models can separate songs, and fetch one ahead."""


@models.command("list")
@_CONFIG
def list_models(file: Path | None) -> None:
    """List the models, whether their weights are here, and which one a song gets that names none."""
    config = _load(file, {})
    entries = model_catalog(config).models()
    default = choose(config.separate.model, entries, is_coming=IS_TO_COME)
    for entry in entries:
        is_default = entry.name == default.model
        click.echo(f"{entry.name:<24} {entry.state}{' (default)' if is_default else ''}")
        if is_default and default.why is not None:
            click.echo(f"{'':<24} It is the default since {default.why}.")
        if entry.detail and (entry.state == "missing" or entry.name == BUILT_IN):
            click.echo(f"{'':<24} {entry.detail}")


@models.command("pull")
@_CONFIG
@click.argument("name", required=False)
def pull_model(file: Path | None, name: str | None) -> None:
    """Fetch the weights of the model NAME.

    Without NAME it is the one that separate.model names, or htdemucs. What is here already isn't fetched again; in any
    case it looks whether it can be used. A server that runs uses it from the next song on.
    """
    settings = _load(file, {}).separate
    configured = PREFERRED if settings.model == AUTO else settings.model
    may_fetch = not says_offline()
    spec = ModelSpec(name=name or configured, repo=settings.repo, download=may_fetch, precision=settings.precision)
    try:
        info = describe(spec)
    except Problem as problem:
        click.echo(problem.detail if may_fetch else f"{problem.detail}\n{_OFFLINE}", err=True)
        sys.exit(1)
    click.echo(f"{info.name} is here; it separates {', '.join(info.sources)}.")


@main.command("callback-secret")
@_CONFIG
@_DATA_DIR
def print_callback_secret(file: Path | None, data_dir: Path | None) -> None:
    """Print what callbacks are signed with.

    Those who receive them check them with it, by any library of Standard Webhooks.
    """
    try:
        click.echo(callback_secret(_load(file, {"data_dir": data_dir})))
    except (OSError, ValueError) as error:
        _give_up(f"There is no secret yet, since no server ran on this data directory: {error}")


@main.command()
@_CONFIG
@_DATA_DIR
def doctor(file: Path | None, data_dir: Path | None) -> None:
    """Check what the server needs, and how to mend it."""
    config = _load(file, {"data_dir": data_dir})
    findings = asyncio.run(examine(config))
    for good, line in findings:
        click.echo(f"{'ok  ' if good else 'BAD '} {line}")
    if not all(good for good, _ in findings):
        sys.exit(1)


def _load(file: Path | None, server_flags: dict[str, object]) -> Config:
    """Read all settings, or say in one line per mistake what is wrong with them."""
    given = {name: value for name, value in server_flags.items() if value}
    try:
        return load_config(file, {"server": given})
    except ValidationError as error:
        _give_up("These settings can't be used:\n  " + "\n  ".join(map(_in_words, error.errors())))
    except OSError as error:
        _give_up(f"The settings can't be read: {error.filename}: {error.strerror}")
    except ValueError as error:
        _give_up(f"The settings can't be read: {error}")


def _in_words(mistake: ErrorDetails) -> str:
    """One line: which key, and what is wrong with its value."""
    key = ".".join(map(str, mistake["loc"]))
    if mistake["type"] == "extra_forbidden":
        return f"{key}: There is no such setting"
    return f"{key}: {mistake['msg'].removeprefix('Value error, ')}"


def _give_up(line: str) -> NoReturn:
    click.echo(line, err=True)
    sys.exit(_EX_CONFIG)
