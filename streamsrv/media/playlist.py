"""HLS playlists: what ffmpeg reports is read, what players get is rendered from rows. Pure (RFC 8216)."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_NUMBERED = re.compile(r"segment_(\d{5,})\.(?:ts|m4s)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """One media segment of a playlist."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Rendition:
    """One of several tracks that are heard one at a time. The name has no quotes in it."""

    name: str
    uri: str


def finished_segment(line: str) -> int | None:
    """The number of the segment that a line of ffmpeg's own playlist names as finished, None for all other lines."""
    match = _NUMBERED.fullmatch(line.strip())
    return int(match[1]) if match else None


def render_vod(entries: Sequence[Entry], *, init: str | None, segment_seconds: float) -> str:
    """A playlist of a finished job: all of it is there and nothing will change."""
    return _render(
        entries, init=init, target=target_duration(segment_seconds), kind="VOD", ended=True, from_start=False
    )


def render_event(entries: Sequence[Entry], *, init: str | None, segment_seconds: float, ended: bool) -> str:
    """A playlist that only grows. It stays an EVENT playlist when it has ended (RFC 8216 section 6.2.1).

    Without EXT-X-START a player would take a playlist that hasn't ended for a broadcast and begin at its edge.
    """
    return _render(
        entries, init=init, target=target_duration(segment_seconds), kind="EVENT", ended=ended, from_start=True
    )


def render_master(uri: str, *, codecs: str, bandwidth_bps: int, average_bps: int) -> str:
    """A multivariant playlist with one rendition (RFC 8216 section 4.3.4.2)."""
    return (
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n"
        f'#EXT-X-STREAM-INF:BANDWIDTH={bandwidth_bps},AVERAGE-BANDWIDTH={average_bps},CODECS="{codecs}"\n{uri}\n'
    )


def render_renditions(renditions: Sequence[Rendition], *, codecs: str, bandwidth_bps: int, average_bps: int) -> str:
    """A multivariant playlist of several tracks of which the first one is heard by default (section 4.3.4.1)."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for rendition in renditions:
        default = "YES" if rendition is renditions[0] else "NO"
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="tracks",NAME="{rendition.name}",DEFAULT={default},AUTOSELECT={default}'
            f',URI="{rendition.uri}"'
        )
    lines.append(
        f'#EXT-X-STREAM-INF:BANDWIDTH={bandwidth_bps},AVERAGE-BANDWIDTH={average_bps},CODECS="{codecs}",AUDIO="tracks"'
    )
    return "\n".join([*lines, renditions[0].uri]) + "\n"


def target_duration(segment_seconds: float) -> int:
    """Fixed before the first segment is there: no segment is longer (section 4.3.3.1)."""
    return math.ceil(segment_seconds)


def bandwidth(sizes: Iterable[tuple[int, float]]) -> tuple[int, int]:
    """Peak and average bits per second of segments of (bytes, seconds). The last, short one counts only if alone."""
    rows = [(size, seconds) for size, seconds in sizes if seconds > 0]
    full = rows[:-1] or rows
    peak = max((math.ceil(8 * size / seconds) for size, seconds in full), default=1)
    length = sum(seconds for _, seconds in rows)
    average = math.ceil(8 * sum(size for size, _ in rows) / length) if length else 1
    return max(peak, average), average


def _render(
    entries: Sequence[Entry], *, init: str | None, target: int, kind: str, ended: bool, from_start: bool
) -> str:
    lines = [
        "#EXTM3U",
        # Version 6 is what EXT-X-MAP in such a playlist asks for (section 7).
        f"#EXT-X-VERSION:{6 if init else 3}",
        f"#EXT-X-TARGETDURATION:{target}",
        "#EXT-X-MEDIA-SEQUENCE:1",
        f"#EXT-X-PLAYLIST-TYPE:{kind}",
    ]
    if from_start:
        lines.append("#EXT-X-START:TIME-OFFSET=0")
    if init:
        lines.append(f'#EXT-X-MAP:URI="{init}"')
    for entry in entries:
        lines += [f"#EXTINF:{entry.seconds:.6f},", entry.name]
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"
