"""The tracks of a clip as people and programs are told of them. Pure."""

from collections.abc import Sequence
from typing import Any

from streamsrv.media.film import Track

_MOST_TOLD = 100
_MOST_IN_WORDS = 20


def track_members(tracks: Sequence[Track]) -> list[dict[str, Any]]:
    """For programs: number, language (null where the file doesn't say), codec, channels and sample rate of each.

    A file may have any number of them; a hundred are told.
    """
    return [
        {
            "track": track.number,
            "language": track.language,
            "codec": track.codec,
            "channels": track.channels,
            "sample_rate": track.sample_rate,
        }
        for track in tracks[:_MOST_TOLD]
    ]


def describe_tracks(tracks: Sequence[Track]) -> str:
    """For people: `0 (eng, aac, 2 channels), 1 (deu, ac3, 6 channels)`."""
    told = ", ".join(f"{track.number} ({', '.join(_facts(track))})" for track in tracks[:_MOST_IN_WORDS])
    return told if len(tracks) <= _MOST_IN_WORDS else f"{told} and {len(tracks) - _MOST_IN_WORDS} more"


def _facts(track: Track) -> list[str]:
    channels = "1 channel" if track.channels == 1 else f"{track.channels} channels"
    return [*([track.language] if track.language else []), track.codec, channels]
