"""ffmpeg as a supervised child: fed with back-pressure, drained, its progress read, always reaped."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from streamsrv.media.child import ChildLimits, kill_group, read_lines, spawn
from streamsrv.media.feed import Feeder, Piece
from streamsrv.media.tools import FfmpegTools

_KEPT_ERRORS = 20
_MAX_LINE = 400

_DECODED = re.compile(r"Input stream #\d+:\d+ \(audio\): .* frames decoded.*\((\d+) samples\)")
_ENCODED = re.compile(r"Output stream #\d+:\d+ \(audio\): .* frames encoded \((\d+) samples\); (\d+) packets muxed")
_ERROR = re.compile(r"^(?:\[([^\]]+) @ 0x[0-9a-f]+\] )*\[(?:error|fatal|panic)\] (.*)")
# Only a warning, though what a packet lacks is lost.
_CORRUPT = re.compile(r"\[warning\] .*(?:corrupt input packet|corrupt decoded frame)")
NO_SPACE = "No space left on device"
CORRUPT, UNDECODED = "corrupt", "undecoded"
_UNDECODED_WORDS = ("Error while decoding", "Error submitting")
_MOST_COMPLAINERS = 20
# Filters are set up anew for sound of another kind.
_GRAPH = re.compile(r"^\[graph_\S+_in_\S+ @ 0x[0-9a-f]+\] \[verbose\] tb:.* samplerate:(\d+)")
# The resampler's, in pieces.
_FILLED = re.compile(r"adding (\d+) audio samples of silence")
_NOT_NUMBERS = re.compile(r"Number of (?:NaNs|Infs): ([1-9]\d*)")
_OUT_TIME = re.compile(r"^out_time_us=(\d+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended. Samples are counted at the decoder (before resampling) and at the encoder (after it).

    `filled_samples`: the silence that went in by the rule of time, at the decoder's own rate, `sample_rate` in Hz.
    `changes`: how often the decoded sound changed its sample rate or channels in the middle. `not_numbers`: samples of
    a track of floats that are none. `complainers`: ffmpeg's names of what met errors, "" where it doesn't say.
    `lost_seconds`: of the sound, which the caller puts up with.
    """

    returncode: int
    decoded_samples: int
    encoded_samples: int
    packets: int
    errors: tuple[str, ...]
    changes: int = 0
    filled_samples: int = 0
    sample_rate: int = 0
    not_numbers: int = 0
    complainers: frozenset[str] = frozenset()
    lost_seconds: float = 0.0

    @property
    def has_failed(self) -> bool:
        """It didn't end well, or there was no space for what it wrote: nothing more can be said of its input."""
        return self.returncode != 0 or any(NO_SPACE in line for line in self.errors)

    def is_torn(self, format_name: str) -> bool:
        """Was the container itself damaged, and not only what is in its packets?"""
        return not self.complainers.isdisjoint((format_name, CORRUPT))

    @property
    def heard_seconds(self) -> float:
        """All that went on from the decoder: its sound, and the silence in its holes."""
        heard_samples = self.decoded_samples + self.filled_samples
        return heard_samples / self.sample_rate if self.sample_rate else 0.0


@dataclass(slots=True)
class Log:
    """What is kept of a child's stderr, however much it writes."""

    decoded_samples: int = 0
    filled_samples: int = 0
    sample_rate: int = 0
    not_numbers: int = 0
    encoded_samples: int = 0
    packets: int = 0
    out_seconds: float = 0.0
    graphs: int = 0
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_ERRORS))
    complainers: set[str] = field(default_factory=set)

    def read(self, line: str) -> None:
        if match := _OUT_TIME.match(line):
            self.out_seconds = int(match[1]) / 1e6
        elif match := _DECODED.search(line):
            self.decoded_samples = int(match[1])
        elif match := _ENCODED.search(line):
            self.encoded_samples, self.packets = int(match[1]), int(match[2])
        elif match := _FILLED.search(line):
            self.filled_samples += int(match[1])
        elif match := _NOT_NUMBERS.search(line):
            self.not_numbers += int(match[1])
        elif match := _GRAPH.match(line):
            self.graphs += 1
            self.sample_rate = int(match[1])
        elif (match := _ERROR.match(line)) and "not on whitelist" not in line:
            self.errors.append(match[2][:_MAX_LINE])
            self._note(match[1] or (UNDECODED if match[2].startswith(_UNDECODED_WORDS) else ""))
        elif _CORRUPT.search(line):
            self._note(CORRUPT)

    def _note(self, complainer: str) -> None:
        if len(self.complainers) < _MOST_COMPLAINERS:
            self.complainers.add(complainer)

    def outcome(self, returncode: int) -> Outcome:
        # Under a sandbox a signal of the child comes out as 128 + its number.
        if returncode > 128:
            returncode = 128 - returncode
        return Outcome(
            returncode,
            self.decoded_samples,
            self.encoded_samples,
            self.packets,
            tuple(self.errors),
            max(0, self.graphs - 1),
            self.filled_samples,
            self.sample_rate,
            self.not_numbers,
            frozenset(self.complainers),
        )


class Ffmpeg:
    """One run of ffmpeg: `async with Ffmpeg(...) as child`, `child.read_lines()` to the end, `child.outcome()`.

    Whatever ends the block (success, an error, cancellation), the child's whole process group is killed and reaped.
    `folder` is its working directory and the only place it may write; `feed` goes to its standard input.
    An exception of `feed` kills the child and is raised by `read_lines()` and `outcome()`.
    """

    def __init__(
        self,
        tools: FfmpegTools,
        argv: Sequence[str],
        *,
        folder: Path,
        readable: Sequence[Path] = (),
        feed: AsyncIterator[Piece] | None = None,
        limits: ChildLimits | None = None,
    ) -> None:
        self._argv = tools.confined(argv, readable=readable, writable=(folder,))
        self._folder = folder
        self._feed = feed
        self._limits = limits or ChildLimits()
        self._log = Log()
        self._feed_error: Exception | None = None
        self._unread: list[str] = []
        self._news = asyncio.Event()
        self._feeder: Feeder | None = None

    @property
    def fed_bytes(self) -> int:
        """So much of `feed` it has taken."""
        return self._feeder.fed_bytes if self._feeder is not None else 0

    @property
    def out_seconds(self) -> float:
        """Seconds of output so far."""
        return self._log.out_seconds

    async def __aenter__(self) -> Self:
        self._process = await spawn(self._argv, self._limits, folder=self._folder, feeding=self._feed is not None)
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._drain = self._tasks.create_task(self._read_log())
        self._output = self._tasks.create_task(self._read_output())
        self._output.add_done_callback(lambda _: self._news.set())
        self._feeding = self._tasks.create_task(self._feed_child()) if self._feed is not None else None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kill_group(self._process)
        if self._feeding is not None:
            self._feeding.cancel()
        # The drains end by themselves once the child is gone; cancelled, they would leave its pipes open.
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            self._drop_input()
            await asyncio.shield(self._process.wait())

    def _drop_input(self) -> None:
        """What the child, which is gone, hasn't taken: else its pipe is open until the loop hears that nobody reads."""
        if self._process.stdin is not None:
            pipe = self._process.stdin.transport
            if not pipe.is_closing() or pipe.get_write_buffer_size():
                pipe.abort()

    async def read_lines(self, wait_seconds: float) -> list[str] | None:
        """Lines of standard output since the last call; waits for one at most so long; None when there is no more."""
        if not self._output.done():  # else its last lines and its end came as one piece of news, which may be used up
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._news.wait()
        self._news.clear()
        lines, self._unread = self._unread, []
        if not lines and self._output.done():
            if self._feed_error is not None:
                raise self._feed_error
            return None
        return lines

    async def outcome(self) -> Outcome:
        returncode = await self._process.wait()
        await self._drain
        if self._feed_error is not None:
            raise self._feed_error
        return self._log.outcome(returncode)

    async def _read_output(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was opened as a pipe
        async for line in read_lines(self._process.stdout):
            self._unread.append(line)
            self._news.set()

    async def _read_log(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - it was opened as a pipe
        async for line in read_lines(self._process.stderr):
            self._log.read(line)

    async def _feed_child(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101
        assert self._feed is not None  # noqa: S101
        self._feeder = Feeder(stdin)
        try:
            await self._feeder.feed(self._feed)
        except (BrokenPipeError, ConnectionResetError):
            return  # it wants no more: its outcome tells why
        except Exception as error:  # handed to whoever reads the child
            # Closing the pipe would look like the end of the file, and half a song like a whole one.
            self._feed_error = error
            kill_group(self._process)
        else:
            with suppress(BrokenPipeError, ConnectionResetError):
                stdin.close()
