"""What the conversion endpoints take and give."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from streamsrv.convert.options import ConvertOptions
from streamsrv.encoding.options import QUALITIES, check_options, takes_quality
from streamsrv.errors import BadParameter
from streamsrv.media.cut import Cut
from streamsrv.media.formats import Format
from streamsrv.media.integrity.loss import STRICT, TERMS
from streamsrv.text import canonical_uuid, whole_number

T = TypeVar("T")

OPTION_FIELDS = ("format", "bitrate", "quality", "sample_rate", "channels", "start", "duration", "metadata", "errors")
_METADATA = ("keep", "drop")
_SHOWN_CHARACTERS = 40
_MAX_SECONDS = 1e6
_BITRATE = re.compile(r"(\d{1,7})(k?)", re.ASCII | re.IGNORECASE)
_CLOCK = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,2}):)?(\d{1,7}(?:\.\d{1,9})?)", re.ASCII)


def read_options(fields: Mapping[str, str], formats: Mapping[str, Format]) -> ConvertOptions:
    """Read the options from form fields or a query. Raises BadParameter, naming what is possible."""
    options = ConvertOptions(
        form=_read(fields, "format", lambda text: _read_format(text, formats)),
        bitrate_bps=_read(fields, "bitrate", _read_bitrate),
        quality=_read(fields, "quality", lambda text: _read_choice(text, "quality", QUALITIES)),
        sample_rate=_read(fields, "sample_rate", lambda text: _read_number(text, "sample_rate", "in Hz")),
        channels=_read(fields, "channels", lambda text: _read_number(text, "channels", "from 1 to 8")),
        cut=Cut(
            _read(fields, "start", lambda text: _read_seconds(text, "start")) or 0.0,
            _read(fields, "duration", _read_duration),
        ),
        terms=_read(fields, "errors", lambda text: TERMS[_read_choice(text, "errors", tuple(TERMS))]) or STRICT,
        keeps_metadata=_read(fields, "metadata", lambda text: _read_choice(text, "metadata", _METADATA)) != "drop",
    )
    check_options(options, options.form)
    return options


def read_conversion_id(text: str) -> str:
    """A UUID in its canonical form. Raises BadParameter."""
    conversion_id = canonical_uuid(text)
    if conversion_id is None:
        raise BadParameter("conversion_id must be a UUID, e.g. 550e8400-e29b-41d4-a716-446655440000.")
    return conversion_id


def format_reply(form: Format) -> dict[str, Any]:
    """A format as clients see it. Without a bit rate it is lossless; without sample rates it takes any."""
    codec = form.codec
    return {
        "name": form.name,
        "title": form.title,
        "suffix": form.suffix,
        "media_type": form.media_type,
        "codec": "pcm" if codec.is_pcm else codec.name,
        "lossless": codec.lossless,
        "bitrate": None if codec.lossless else {"min": codec.min_bitrate_bps, "max": codec.max_bitrate_bps},
        "sample_rates": sorted(codec.rates) or None,
        "channels": codec.max_channels,
        "cover_art": form.pictures,
        "qualities": list(QUALITIES) if takes_quality(form) else [],
    }


def _read(fields: Mapping[str, str], name: str, read: Callable[[str], T]) -> T | None:
    return read(fields[name].strip()) if name in fields else None


def _read_format(text: str, formats: Mapping[str, Format]) -> Format:
    # People write ".MP3" and "mp3" and mean the same.
    form = formats.get(text.lower().removeprefix("."))
    if form is None:
        raise BadParameter(f"There is no format {text[:_SHOWN_CHARACTERS]!r}. There are: {', '.join(formats)}.")
    return form


def _read_choice(text: str, name: str, choices: tuple[str, ...]) -> str:
    if text.lower() not in choices:
        raise BadParameter(f"{name} must be one of {', '.join(choices)}, not {text[:_SHOWN_CHARACTERS]!r}.")
    return text.lower()


def _read_bitrate(text: str) -> int:
    match = _BITRATE.fullmatch(text)
    if match is None:
        raise BadParameter(f"bitrate must be bits per second, e.g. 192000 or 192k, not {text[:_SHOWN_CHARACTERS]!r}.")
    return int(match[1]) * (1000 if match[2] else 1)


def _read_number(text: str, name: str, unit: str) -> int:
    number = whole_number(text, digits=7)
    if not number:
        raise BadParameter(f"{name} must be a whole number {unit}, not {text[:_SHOWN_CHARACTERS]!r}.")
    return number


def _read_seconds(text: str, name: str) -> float:
    match = _CLOCK.fullmatch(text)
    hours, minutes, seconds = match.groups() if match else (None, None, None)
    total = int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds or 0)
    if match is None or (minutes and float(seconds or 0) >= 60) or total > _MAX_SECONDS:
        raise BadParameter(f"{name} must be a time in seconds or like 1:02:03.5, not {text[:_SHOWN_CHARACTERS]!r}.")
    return total


def _read_duration(text: str) -> float:
    seconds = _read_seconds(text, "duration")
    if seconds <= 0:
        raise BadParameter("duration must be more than 0 seconds.")
    return seconds
