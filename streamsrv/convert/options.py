"""How a file is to be converted, as the client asked."""

from dataclasses import dataclass

from streamsrv.media.cut import WHOLE, Cut
from streamsrv.media.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """None is what wasn't asked for: the source, the format or a default decides. `form` None: not known yet."""

    form: Format | None = None
    bitrate_bps: int | None = None
    quality: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    cut: Cut = WHOLE
    keeps_metadata: bool = True
