"""One run of an encoder, followed to its end and judged."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from streamsrv.encoding.source import EncoderSource
from streamsrv.errors import InternalError
from streamsrv.media.arguments import Encoding
from streamsrv.media.checks import check_outcome
from streamsrv.media.child import ChildLimits
from streamsrv.media.ffmpeg import Ffmpeg, Outcome
from streamsrv.media.integrity.damage import find_damage
from streamsrv.media.tools import FfmpegTools

_TICK_SECONDS = 0.25


class Progress(Protocol):
    """How far an encoder is: seconds of sound that came out, bytes of its feed that went in."""

    @property
    def out_seconds(self) -> float: ...

    @property
    def fed_bytes(self) -> int: ...


# Told how far the encoder is and the lines that it has printed since, again and again.
Watch = Callable[[Progress, Sequence[str]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRun:
    """A command line that encodes `source` as `encoding` into `folder`, and takes no more than is allowed."""

    tools: FfmpegTools
    argv: Sequence[str]
    source: EncoderSource
    encoding: Encoding
    folder: Path
    max_seconds: float
    max_bytes: int | None = None

    async def follow(self, watch: Watch) -> Outcome:
        """Run it to its end; whatever ends this, no child is left. Raises what `check_outcome` does, and `watch`.

        The outcome says what is lost, where the source tolerates that.

        `watch` may find a fault in the first thing that the encoder finishes. Then what the encoder says of its input
        comes first: a file without sound makes a first segment without any.
        """
        source = self.source
        limits = ChildLimits.for_sound(self.max_seconds, self.max_bytes, memory_bytes=source.memory_bytes)
        child = Ffmpeg(
            self.tools, self.argv, folder=self.folder, readable=source.readable, feed=source.feed, limits=limits
        )
        has_output = False
        async with child:
            try:
                while (lines := await child.read_lines(_TICK_SECONDS)) is not None:
                    await watch(child, lines)
                    has_output = has_output or bool(lines)
            except InternalError:
                if not has_output:
                    await self._checked(await child.outcome(), child.fed_bytes)
                raise
            outcome = await child.outcome()
        return await self._checked(outcome, child.fed_bytes)

    async def _checked(self, outcome: Outcome, fed_bytes: int) -> Outcome:
        source = self.source
        damage = await find_damage(
            self.tools,
            source.examined,
            outcome,
            declared=source.declared,
            max_seconds=self.max_seconds,
            end_seconds=source.cut.end_seconds,
        )
        lost_seconds = check_outcome(
            outcome,
            encoding=self.encoding,
            declared=source.declared,
            max_seconds=self.max_seconds,
            most_samples=source.most_samples,
            cut=source.cut,
            damage=damage,
            terms=source.terms,
        )
        if source.input.pcm is not None and outcome.decoded_samples != fed_bytes // source.input.pcm.frame_bytes:
            raise InternalError("The encoder didn't take all samples.")
        return replace(outcome, lost_seconds=lost_seconds)
