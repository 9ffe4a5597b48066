"""The command line: `serve`, `models` and `doctor`."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamsrv import __version__
from streamsrv.app.separation import callback_secret, model_catalog
from streamsrv.config import Config, load_config, shipped
from streamsrv.errors import Problem
from streamsrv.media.tools import find_tools
from streamsrv.separate.catalog import BUILT_IN, Entry, says_offline
from streamsrv.separate.choice import AUTO, PREFERRED, Choice, choose
from streamsrv.separate.model import describe
from streamsrv.separate.settings import ModelSpec
from streamsrv.server import CannotStart, check_devices, check_outbound, run

# What is with that model where nobody knows of a server that fetches it.
_IS_TO_COME = f"{PREFERRED} isn't here yet, and the server downloads it when it starts"
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
def serve(file: Path | None, hosts: tuple[str, ...], ports: tuple[int, ...], data_dir: Path | None) -> None:
    """Serve until interrupted.

    It listens on http://localhost:8080 unless told otherwise.
    """
    flags = {"hosts": list(hosts), "ports": list(ports), "data_dir": data_dir}
    config = _load(file, flags)
    try:
        run(config)
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
    default = choose(config.separate.model, entries, is_coming=_IS_TO_COME)
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
    findings = asyncio.run(_examine(config))
    for good, line in findings:
        click.echo(f"{'ok  ' if good else 'BAD '} {line}")
    if not all(good for good, _ in findings):
        sys.exit(1)


async def _examine(config: Config) -> list[tuple[bool, str]]:
    return [
        *await _examine_ffmpeg(config),
        _examine_data_dir(config.server.data_dir),
        *_examine_media_roots(config.extract.media_roots),
        _examine_outbound(config),
        *_examine_separation(config),
        _examine_page(),
    ]


async def _examine_ffmpeg(config: Config) -> list[tuple[bool, str]]:
    try:
        tools = await find_tools(config.ffmpeg.ffmpeg, config.ffmpeg.ffprobe, config.ffmpeg.sandbox)
    except Problem as problem:
        return [(False, problem.detail)]
    sandbox = "under bubblewrap" if tools.sandboxed else "without bubblewrap (not installed, or forbidden here)"
    return [(True, f"ffmpeg {tools.version} runs {sandbox}."), *((False, line) for line in tools.shortcomings())]


def _examine_data_dir(data_dir: Path) -> tuple[bool, str]:
    folder = data_dir.resolve()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return False, f"The data directory {folder} can't be written to. Choose another with --data-dir."
    return True, f"The data directory is {folder}."


def _examine_media_roots(roots: Sequence[Path]) -> list[tuple[bool, str]]:
    if not roots:
        return [(True, "Videos are extracted from web servers only: there are no media roots (extract.media_roots).")]
    return [_examine_media_root(root) for root in roots]


def _examine_media_root(root: Path) -> tuple[bool, str]:
    if not root.is_dir():
        return False, f"The media root {root} isn't a folder. Make it, or name another in extract.media_roots."
    if not os.access(root, os.R_OK | os.X_OK):
        return False, f"The media root {root} can't be read by this user."
    return True, f"Videos below {root} can be extracted from."


def _examine_outbound(config: Config) -> tuple[bool, str]:
    try:
        check_outbound(config)
    except CannotStart as error:
        return False, str(error)
    more = f", and {', '.join(config.outbound.allow)}" if config.outbound.allow else ""
    return True, f"Videos are downloaded from the public internet{more}."


def _examine_separation(config: Config) -> list[tuple[bool, str]]:
    settings = config.separate
    try:
        names = ", ".join(device.name for device in check_devices(config))
        findings = [(True, f"Songs are separated on {names}.")]
    except CannotStart as error:
        findings = [(False, str(error))]
    entries = model_catalog(config).models()
    return [*findings, _examine_model(choose(settings.model, entries, is_coming=_IS_TO_COME), entries)]


def _examine_model(choice: Choice, entries: Sequence[Entry]) -> tuple[bool, str]:
    known = {entry.name: entry for entry in entries}
    entry, preferred = known.get(choice.model), known.get(PREFERRED)
    if entry is None:
        return False, f"There is no model {choice.model}, which separate.model names."
    if entry.state == "missing":
        return False, f"The model {entry.name} is missing. {entry.detail}"
    if choice.why is not None:
        mend = f" {preferred.detail}" if preferred is not None and preferred.state == "missing" else ""
        return True, f"Songs get the small built-in model {entry.name}: {choice.why}.{mend}"
    words = {"available": "is here", "needs download": "will be downloaded by the first song that needs it"}
    return True, f"The model {entry.name} {words[entry.state]}."


def _examine_page() -> tuple[bool, str]:
    if (shipped("static") / "vendor" / "hls.min.js").is_file():
        return True, "The page plays through hls.js."
    return True, "hls.js isn't installed; the page uses the browser's own HLS. `make setup` installs it, where npm is."


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
