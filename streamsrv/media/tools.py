"""The ffmpeg of this machine: where it is, what it can do, and whether it can be confined."""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from streamsrv.errors import EncoderKilled, InternalError, UnusableFile
from streamsrv.media.child import QUICK_SECONDS, ChildLimits, Finished, run_through, run_to_end
from streamsrv.media.formats import CODECS, FORMATS, Format
from streamsrv.media.inputs import without_verdict
from streamsrv.media.memory import MOST_BYTES, probe_memory
from streamsrv.media.sandbox import confine
from streamsrv.tasks import Places, all_of, both

_SIGNALLED = 128
_MORE_PLACES = 2
# It is the first that has channel layouts by name for raw samples, and the one before lacks movie_timescale.
_OLDEST = (5, 1)


@dataclass(frozen=True, slots=True)
class FfmpegTools:
    """The programs of this machine. `encoders`, `decoders` (comma-separated): what ffmpeg was built with.

    `without_verdict` are those of its demuxers and decoders that `inputs` knows nothing of. `home` is the data folder
    of the server that they work for; by it the next server knows those that were left. `places`: so many may be looking
    into files of strangers at a time.
    """

    ffmpeg: str
    ffprobe: str
    version: str = ""
    encoders: frozenset[str] = frozenset()
    decoders: str = ""
    without_verdict: tuple[str, ...] = ()
    sandboxed: bool = False
    home: Path | None = None
    places: Places = field(default_factory=lambda: Places((os.cpu_count() or 1) + _MORE_PLACES), compare=False)

    def confined(self, argv: Sequence[str], *, readable: Sequence[Path], writable: Sequence[Path]) -> list[str]:
        """The command line that runs `argv` with no more of this machine than it needs, where that works here."""
        if not self.sandboxed:
            return list(argv)
        return confine(argv, readable=readable, writable=writable, home=self.home)

    async def look(self, argv: Sequence[str], path: Path) -> Finished:
        """Run ffprobe on a file of strangers, as many at a time as there are places, with memory by the file's size.

        Raises UnusableFile where it needs too much processor time or memory: a kernel that is short of it takes these
        children first.
        """
        file_bytes = await asyncio.to_thread(lambda: path.stat().st_size)
        async with self.places.place(self.ffprobe):
            try:
                return await self.run(argv, readable=(path,), memory_bytes=probe_memory(file_bytes))
            except EncoderKilled as error:
                raise UnusableFile("Looking into this file was ended: it takes too much memory.") from error

    async def run(
        self,
        argv: Sequence[str],
        *,
        readable: Sequence[Path] = (),
        most_seconds: float = QUICK_SECONDS,
        memory_bytes: int = MOST_BYTES,
    ) -> Finished:
        """Run one of the programs to its end; for those that say little and, as a rule, are quick.

        Raises UnusableFile where it needs too much processor time, or was ended by the kernel for its memory.
        """
        argv = self.confined(argv, readable=readable, writable=())
        finished = await run_to_end(argv, most_seconds, memory_bytes)
        _check_end(finished.returncode)
        return finished

    async def read_through(
        self, argv: Sequence[str], take: Callable[[bytes], None], *, readable: Sequence[Path], limits: ChildLimits
    ) -> None:
        """Run one of the programs, which says nothing on stderr; `take` gets its output piece by piece, in a thread.

        Raises as `run` does.
        """
        _check_end(await run_through(self.confined(argv, readable=readable, writable=()), limits, take))

    def shortcomings(self) -> list[str]:
        """What this ffmpeg lacks, a sentence each."""
        return [*self._age(), *self._missing_encoders(), *self._without_verdict()]

    def _age(self) -> list[str]:
        numbers = re.match(r"n?(\d+)\.(\d+)", self.version)
        if numbers is None or (int(numbers[1]), int(numbers[2])) >= _OLDEST:  # those who build their own know
            return []
        oldest = ".".join(map(str, _OLDEST))
        return [f"This ffmpeg is {self.version}; {oldest} or later is needed to extract, and for M4A files."]

    def _missing_encoders(self) -> list[str]:
        return [
            f"This ffmpeg has no encoder {codec.encoder}, so {codec.name} can't be made. Debian's ffmpeg has it."
            for codec in CODECS.values()
            if codec.encoder not in self.encoders
        ]

    def _without_verdict(self) -> list[str]:
        names = ", ".join(self.without_verdict)
        return [f"Nobody has decided on what this ffmpeg reads besides, so it is refused: {names}."] if names else []

    def formats(self) -> dict[str, Format]:
        """What this ffmpeg can make, by name."""
        return {
            name: form for name, form in FORMATS.items() if all(codec.encoder in self.encoders for codec in form.codecs)
        }


def _check_end(returncode: int) -> None:
    # Under a sandbox a signal of the child comes out as 128 + its number.
    if abs(returncode) in (signal.SIGXCPU, _SIGNALLED + signal.SIGXCPU):
        raise UnusableFile("Looking into this file takes too long.")
    if returncode < 0 or returncode > _SIGNALLED:
        raise EncoderKilled("The program that looks into the file was ended.")


async def find_tools(ffmpeg: str, ffprobe: str, sandbox: str) -> FfmpegTools:
    """Find the programs and what they can do. Raises InternalError, saying how to mend it, where one is missing."""
    paths = {name: shutil.which(name) for name in (ffmpeg, ffprobe)}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        raise InternalError(f"{' and '.join(missing)} can't be found. Install it, e.g.: sudo apt-get install -y ffmpeg")
    tools = FfmpegTools(paths[ffmpeg] or "", paths[ffprobe] or "")
    listings = all_of([_list(tools, option) for option in ("-encoders", "-decoders", "-demuxers")])
    (encoders, decoders, demuxers), sandboxed = await both(listings, _sandbox_works(tools, sandbox))
    if sandbox == "require" and not sandboxed:
        raise InternalError("bubblewrap is required by ffmpeg.sandbox, and doesn't work here.")
    return replace(
        tools,
        version=encoders.stderr.split(" Copyright")[0].removeprefix("ffmpeg version "),
        encoders=frozenset(_names(encoders.stdout, "A")),
        decoders=",".join(_names(decoders.stdout, "AVS")),
        without_verdict=_without_verdict(demuxers.stdout, decoders.stdout),
        sandboxed=sandboxed,
    )


async def _list(tools: FfmpegTools, option: str) -> Finished:
    """What ffmpeg was built with, behind a banner with its version."""
    return await tools.run([tools.ffmpeg, option])


def _without_verdict(demuxers: str, decoders: str) -> tuple[str, ...]:
    # Of several names of a demuxer the first one counts.
    names = [name.split(",")[0] for name in _names(demuxers, "D")]
    return tuple(chain(*without_verdict(names, _names(decoders, "A"))))


def _names(listing: str, kinds: str) -> list[str]:
    """Names that ffmpeg lists, of some kinds: (A)udio, (V)ideo, (S)ubtitles, (D)emuxers."""
    words = (line.split() for line in listing.splitlines() if line[:1] == " " and line[1:2] in kinds)
    # Newer ones have a further column, for devices.
    return [row[2] if row[1] == "d" else row[1] for row in words if row[1] != "="]


async def _sandbox_works(tools: FfmpegTools, sandbox: str) -> bool:
    if sandbox == "off" or shutil.which("bwrap") is None:
        return False
    argv = confine([tools.ffmpeg, "-version"], readable=(), writable=())
    return (await run_to_end(argv)).returncode == 0
