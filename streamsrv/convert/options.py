"""How a file is to be converted, as the client asked."""

from dataclasses import dataclass

from streamsrv.encoding.options import EncodingOptions
from streamsrv.media.cut import WHOLE, Cut
from streamsrv.media.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions(EncodingOptions):
    """`form` None: not known yet."""

    form: Format | None = None
    cut: Cut = WHOLE
    keeps_metadata: bool = True
