"""What every extraction works with."""

from dataclasses import dataclass

from streamsrv.extract.archive import Archive
from streamsrv.extract.clips import Clips
from streamsrv.extract.contents import Contents
from streamsrv.extract.encoding import Encoder
from streamsrv.extract.sources import Sources
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """Its parts are opened and closed by whoever made them. No clip, and no file, is longer than `max_seconds`.

    No clip has more than `max_samples`, those of all its channels together.
    """

    tools: FfmpegTools
    sources: Sources
    contents: Contents
    clips: Clips
    encoder: Encoder
    archive: Archive
    storage: Storage
    max_seconds: float
    max_samples: int
