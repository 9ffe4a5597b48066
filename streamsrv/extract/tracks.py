"""The tracks of a clip as people and programs are told of them. Pure."""

from collections.abc import Sequence
from typing import Any

from streamsrv.media.film import Track


def track_members(tracks: Sequence[Track]) -> list[dict[str, Any]]:
    """For programs: number, language (null where the file doesn't say), codec, channels and sample rate of each."""
    return [
        {
            "track": track.number,
            "language": track.language,
            "codec": track.codec,
            "channels": track.channels,
            "sample_rate": track.sample_rate,
        }
        for track in tracks
    ]


def describe_tracks(tracks: Sequence[Track]) -> str:
    """For people: `0 (eng, aac, 2 channels), 1 (deu, ac3, 6 channels)`."""
    return ", ".join(f"{track.number} ({', '.join(_facts(track))})" for track in tracks)


def _facts(track: Track) -> list[str]:
    channels = "1 channel" if track.channels == 1 else f"{track.channels} channels"
    return [*([track.language] if track.language else []), track.codec, channels]
