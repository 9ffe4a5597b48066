"""Run the application: lock the data directory, listen, and end well."""

import asyncio
import errno
import fcntl
import os
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from streamsrv.app import create_app
from streamsrv.app.house import database_file
from streamsrv.app.orphans import find_orphans
from streamsrv.app.separation import missing_extras, separation_devices
from streamsrv.config import Config
from streamsrv.jobs.inspection import has_history
from streamsrv.jobs.schema import UnusableDatabase
from streamsrv.logs import configure_logs
from streamsrv.media.tools import FfmpegTools, find_tools
from streamsrv.outbound.addresses import Allowed
from streamsrv.separate.catalog import NOT_INSTALLED
from streamsrv.storage.privacy import find_open
from streamsrv.web.clients import Proxies
from streamsrv.web.crowd import Bounds, Crowd
from streamsrv.web.memory import SMALL_READ_BYTES, keep_large_buffers
from streamsrv.web.runner import Runner
from streamsrv.workers.devices import Device

log = structlog.stdlib.get_logger()

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What is made is for this user alone: songs are private, and callbacks have their receivers' tokens in their addresses.
_UMASK = 0o077
# What else is open: the others are sound that comes and goes, pipes of children, and those that wait to be accepted.
_DESCRIPTORS_FOR_CONNECTIONS = 1 / 3
# How often it is said that the system lets the server open nothing more.
_SAID_SECONDS = 60.0
_ACCEPTED_AT_ONCE = 16
_WAITING_CONNECTIONS = 1024
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class CannotStart(Exception):
    """The server can't start; the message is one clear line."""


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process alone. Raises CannotStart when it can't be used or is in use."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # songs are private
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(f"The data directory {data_dir} can't be used: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise CannotStart(f"Another server uses the data directory {data_dir}.") from error
    finally:
        os.close(descriptor)


def allow_many_files() -> None:
    """Take as many open files as the system lets this process have: each listener needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_outbound(config: Config) -> None:
    """Raises CannotStart where `outbound.allow` names something that can't be connected to."""
    try:
        Allowed.parse(config.outbound.allow)
    except ValueError as error:
        raise CannotStart(f"outbound.allow can't be used: {error}.") from error


def check_devices(config: Config) -> list[Device]:
    """What songs are separated on. Raises CannotStart where `separate.devices` names what isn't here."""
    try:
        return separation_devices(config)
    except ValueError as error:
        raise CannotStart(f"separate.devices can't be used: {error}.") from error


async def serve(config: Config) -> None:
    """Serve until SIGINT or SIGTERM. Raises CannotStart."""
    check_outbound(config)
    devices = check_devices(config)
    allow_many_files()
    keep_large_buffers()
    tools = await find_tools(config.ffmpeg.ffmpeg, config.ffmpeg.ffprobe, config.ffmpeg.sandbox)
    _report(tools, config, devices)
    stop = asyncio.Event()
    _stop_on_signals(stop)
    asyncio.get_running_loop().set_exception_handler(_Accidents().report)
    runner = Runner(
        _build(config, tools, devices),
        access_log=None,
        crowd=_crowd(config),
        keepalive_timeout=config.server.idle_seconds,
        shutdown_timeout=config.server.shutdown_seconds,
        read_bufsize=SMALL_READ_BYTES,
        auto_decompress=False,  # encoded bodies are refused; aiohttp would inflate them all the same
    )
    await _set_up(runner, config)
    try:
        await _listen(runner, config)
        await stop.wait()
        log.info("server_stopping")
    finally:
        await runner.cleanup()


def _stop_on_signals(stop: asyncio.Event) -> None:
    """The first signal stops the server in peace, a second one ends it at once: what was accepted survives that."""
    loop = asyncio.get_running_loop()

    def begin() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, begin)


class _Accidents:
    """What goes wrong in the event loop itself. asyncio says 128 times a second that it can't accept connections."""

    def __init__(self) -> None:
        self._said_at = -_SAID_SECONDS

    def report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _EXHAUSTED):
            log.error("unexpected", detail=context["message"], exc_info=error)
        elif loop.time() - self._said_at > _SAID_SECONDS:
            self._said_at = loop.time()
            log.error("connections_wait", reason=error.strerror)


def _crowd(config: Config) -> Crowd:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    bounds = Bounds(
        connections=max(1, min(config.server.max_connections, int(descriptors * _DESCRIPTORS_FOR_CONNECTIONS))),
        per_address=config.server.max_connections_per_address,
        header_seconds=config.server.header_seconds,
        reply_idle_seconds=config.limits.download_idle_seconds,
    )
    return Crowd(bounds, Proxies(config.server.trusted_proxies))


def _build(config: Config, tools: FfmpegTools, devices: Sequence[Device]) -> web.Application:
    try:
        return create_app(config, tools, devices)
    except (OSError, ValueError) as error:
        raise CannotStart(f"The data directory {config.server.data_dir} can't be used: {error}.") from error


async def _set_up(runner: web.AppRunner, config: Config) -> None:
    try:
        await runner.setup()
    except UnusableDatabase as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(f"The data directory {config.server.data_dir} can't be used: {error}.") from error


async def _listen(runner: web.AppRunner, config: Config) -> None:
    for port in config.server.ports:
        listening = [host for host in config.server.hosts if await _bind(runner, host, port)]
        if not listening:
            raise CannotStart(f"None of the addresses {', '.join(config.server.hosts)} can be used with port {port}.")
    for host, port, *_ in runner.addresses:
        shown = "localhost" if ip_address(host).is_unspecified else f"[{host}]" if ":" in host else host
        log.info("listening", url=f"http://{shown}:{port}/", address=host)


async def _bind(runner: web.AppRunner, host: str, port: int) -> bool:
    """Listen on one address. A machine without IPv6 can't use "::1": that is said and is no error."""
    try:
        site = web.TCPSite(runner, host, port, reuse_address=True, backlog=_ACCEPTED_AT_ONCE)
        await site.start()
    except OSError as error:
        in_use = error.errno is not None and os.strerror(error.errno) == "Address already in use"
        if in_use:
            raise CannotStart(f"Port {port} on {host} is in use by another program.") from error
        log.warning("address_not_available", host=host, port=port, reason=str(error))
        return False
    _let_wait(site)
    return True


def _let_wait(site: web.TCPSite) -> None:
    """Let more connections wait than asyncio accepts at once: in a rush the system drops the others for a second.

    In small lots each comes to its turn before so many others were accepted that it would have to go for them.
    """
    for listening in getattr(site._server, "sockets", ()):  # noqa: SLF001 - it shows their addresses alone
        with listening.dup() as end:
            end.listen(_WAITING_CONNECTIONS)


def _report(tools: FfmpegTools, config: Config, devices: Sequence[Device]) -> None:
    separates = "separate" not in missing_extras()
    log.info(
        "server_starting",
        data_dir=str(config.server.data_dir.resolve()),
        ffmpeg=tools.version,
        sandboxed=tools.sandboxed,
        jobs_at_a_time=config.jobs.slots,
        separates_on=[device.name for device in devices] if separates else [],
    )
    if not separates:
        log.info("separation_not_installed", detail=f"{NOT_INSTALLED}.")
    for line in tools.shortcomings():
        log.warning("ffmpeg_incomplete", detail=line)


def _report_open(data: Path) -> None:
    line = find_open(data, database_file(data))
    if line is not None:
        log.warning("data_dir_open", detail=line)


def refuse_orphans(config: Config) -> None:
    """Raises CannotStart where the database of what was accepted is gone: serving would remove it."""
    data = config.server.data_dir.resolve()
    line = find_orphans(data)
    if line is not None and not has_history(database_file(data)):
        raise CannotStart(line)


def run(config: Config, *, adopts: bool = False) -> None:
    """Serve from a process of its own; returns when told to stop. Raises CannotStart.

    `adopts`: without the database of what was accepted here before, which goes.
    """
    configure_logs(config.log)
    os.umask(_UMASK)
    with locked(config.server.data_dir), suppress(KeyboardInterrupt):
        if not adopts:
            refuse_orphans(config)
        _report_open(config.server.data_dir.resolve())
        asyncio.run(serve(config))
