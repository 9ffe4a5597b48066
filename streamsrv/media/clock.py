"""The rule of time: which silence belongs into what a decoder gives, by the stamps of its frames. Pure.

Containers stamp each frame of sound. A call recorder sends nothing while nobody speaks, a track begins later than its
picture, recordings are joined by `cat`, clocks drift. Out of that comes one sound, the same in every job:

- A stamp more than 50 ms ahead of the sound so far is a hole, and silence fills it. In MPEG's streams, whose clocks
  may begin anew, and beyond the longest sound that is allowed, a leap is no hole: the clock goes on from there.
- A stamp more than a second behind is another recording that was joined: the clock goes on from there, too.
- Everything else is appended as it is: jitter and drift lose nothing.

A track that begins more than 50 ms later than the first one of its file begins with so much silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_HOLE_SECONDS = 0.05
_BACK_SECONDS = 1.0
# In MPEG-TS and MPEG-PS a further leap means that the clock began anew.
_LEAP_SECONDS = 10.0
_RESTARTING = ("mpegts", "mpeg")


def restarts(format_name: str) -> bool:
    """May the stamps of a container, by ffmpeg's name, begin anew?"""
    return format_name in _RESTARTING


def longest_hole(longest_seconds: float, *, restarts: bool) -> float:
    """A leap beyond that is no hole, and no sound is missing there."""
    return _LEAP_SECONDS if restarts else longest_seconds


@dataclass(frozen=True, slots=True)
class Clock:
    """How the stamps of a track are read: `sample_rate` in Hz; `restarts`: they may begin anew, as MPEG's do."""

    sample_rate: int
    late_seconds: float = 0.0
    restarts: bool = False

    @classmethod
    def of(cls, format_name: str, sample_rate: int, late_seconds: float) -> "Clock":
        """The clock of a track in a container by ffmpeg's name."""
        return cls(sample_rate, late_seconds, restarts(format_name))

    def filters(self, longest_seconds: float) -> str:
        """ffmpeg's filters right behind the decoder, for input under `-copyts`; no hole is longer than that.

        Behind them the stamps count samples, and silence is where it belongs.
        """
        longest = longest_hole(longest_seconds, restarts=self.restarts)
        # Registers: 0 samples of silence so far, 1 by how much the clock was set, 2 the stamp, 3 samples so far.
        ahead = "ld(2)-ld(3)"
        is_new = f"gt({ahead},{longest:g}*SR)+lt({ahead},-{_BACK_SECONDS:g}*SR)"
        is_hole = f"gt({ahead},{_HOLE_SECONDS:g}*SR)"
        expression = ";".join(
            (
                "st(3,NB_CONSUMED_SAMPLES+ld(0))",
                f"st(2,if(isnan(PTS),ld(3),(PTS-STARTPTS)*TB*SR+{self.late_seconds:g}*SR+ld(1)))",
                f"if({is_new},st(1,ld(1)-({ahead})),if({is_hole},st(0,ld(0)+round({ahead}))))",
                "(NB_CONSUMED_SAMPLES+ld(0))/SR/TB",
            )
        )
        escaped = expression.replace(",", r"\,").replace(";", r"\;")
        # Without stretching, `async` only fills.
        fill = f"aresample={self.sample_rate}:async=1:min_hard_comp={_HOLE_SECONDS:g}:first_pts=0"
        return f"asetpts={escaped},{fill}"


def late_seconds_of(track: Mapping[str, Any], report: Mapping[str, Any]) -> float:
    """So much later than the first track of its file it begins; pictures of a cover are none. `report` is ffprobe's.

    What the report says of when pictures begin is a guess, since their decoders stay closed: their first packets tell.
    """
    streams = report.get("streams", [])
    packets = report.get("packets", [])
    tracks = [
        (number, stream)
        for number, stream in enumerate(streams)
        if stream.get("codec_type") in ("audio", "video") and not stream.get("disposition", {}).get("attached_pic")
    ]
    begins = [begin for number, stream in tracks if (begin := _begin_of(number, stream, packets)) is not None]
    begin = _seconds(track.get("start_time"))
    if len(tracks) < 2 or begin is None or not begins:
        return 0.0
    late = begin - min(begins)
    return late if late > _HOLE_SECONDS else 0.0


def _begin_of(number: int, stream: Mapping[str, Any], packets: Sequence[Mapping[str, Any]]) -> float | None:
    if stream.get("codec_type") == "video":
        stamps = [_seconds(packet.get("pts_time")) for packet in packets if packet.get("stream_index") == number]
        known = [stamp for stamp in stamps if stamp is not None]
        if known:
            return min(known)
    return _seconds(stream.get("start_time"))


def _seconds(text: str | None) -> float | None:
    return None if text in (None, "N/A") else float(text)
