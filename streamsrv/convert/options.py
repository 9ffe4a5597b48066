"""How a file is to be converted, as the client asked."""

from dataclasses import dataclass

from streamsrv.encoding.options import EncodingOptions
from streamsrv.media.cut import WHOLE, Cut
from streamsrv.media.formats import Format
from streamsrv.media.integrity.loss import STRICT, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions(EncodingOptions):
    """`form` None: not known yet. `terms`: may sound be missing?"""

    form: Format | None = None
    cut: Cut = WHOLE
    keeps_metadata: bool = True
    terms: Terms = STRICT
