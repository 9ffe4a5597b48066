"""How a file is to be converted, as the client asked."""

from dataclasses import dataclass

from streamsrv.media.cut import WHOLE, Cut
from streamsrv.media.encoding import Wishes
from streamsrv.media.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions(Wishes):
    """`form` None: not known yet."""

    form: Format | None = None
    cut: Cut = WHOLE
    keeps_metadata: bool = True
