"""What is encoded: where ffmpeg reads it, and what it promises."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streamsrv.media.arguments import Input, Pcm
from streamsrv.media.cut import WHOLE, Cut
from streamsrv.media.feed import Piece, feed_of
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.integrity.loss import STRICT, Terms
from streamsrv.media.integrity.structure import Examined
from streamsrv.media.material import Material
from streamsrv.media.memory import MOST_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSource:
    """One input of one encoder. `feed`, if any, goes to its standard input.

    All that is `declared` of the `cut` must be decoded, but for what `terms` tolerate, and no more than `most_samples`
    if the header is right. `examined` is the file, which tells what is missing in its middle. The encoder
    may have `memory_bytes`.
    """

    input: Input
    readable: tuple[Path, ...] = ()
    feed: AsyncIterator[Piece] | None = None
    declared: Declared | None = None
    most_samples: int | None = None
    cut: Cut = WHOLE
    examined: Examined | None = None
    terms: Terms = STRICT
    memory_bytes: int = MOST_BYTES

    @classmethod
    def of_material(cls, material: Material, cut: Cut = WHOLE) -> Self:
        """An upload, whole or growing, or what is cut out of it."""
        return cls(
            input=material.input.cut(*cut.samples(material.source.sample_rate)),
            readable=material.readable,
            feed=material.feed or feed_of(material.input.parts),
            declared=material.declared,
            most_samples=material.most_samples,
            cut=cut,
            examined=material.examined,
            terms=material.terms,
            memory_bytes=material.memory_bytes,
        )

    @classmethod
    def of_samples(cls, pcm: Pcm, feed: AsyncIterator[Piece]) -> Self:
        """Raw samples of our own."""
        return cls(input=Input(pcm=pcm), feed=feed)

    @classmethod
    def of_segments(cls, feed: AsyncIterator[Piece]) -> Self:
        """The bytes of fMP4 segments of our own, the initialisation section first."""
        return cls(input=Input(demuxer="mov"), feed=feed)
