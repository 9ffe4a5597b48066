"""Conversions, on the real application with real ffmpeg: what goes in, what comes back, and in what words it fails."""

import asyncio
import io
import json
import os
import struct
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient
from support.deadline import eventually
from support.server import descendants
from support.sound import FFMPEG, decode, loudest_hertz, tone
from support.spread import thoroughly
from support.traces.processes import command_of
from support.wire.link import Link, linked, read
from support.wire.messages import (
    BOUNDARY,
    FORM_TYPE,
    LAST_CHUNK,
    Reply,
    chunk,
    closed,
    file_part,
    new_id,
    request_head,
    text_part,
)

from streamsrv.media.formats import FORMATS
from streamsrv.media.sniff import HEAD_BYTES

Client = TestClient[Any, Any]
Start = Callable[..., Awaitable[Client]]
RATE = 44100
WAIT_SECONDS = 20.0
# What is left of a conversion goes within so much, whatever ended it, also where others use the machine.
GONE_SECONDS = 10.0
TURN_SECONDS = 8.0
_LOOK_SECONDS = 0.03
_WINDOW_BYTES = 64 << 10
# No two parts of it are alike, and it can't be made small.
NOISE = "-af aeval=random(0)-0.5|random(1)-0.5:c=stereo"
# Options before the file, which then is encoded while it arrives, or behind it.
FIRST_AND_LAST = pytest.mark.parametrize("order", ["first", "last"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sound")


@pytest.fixture(scope="module")
def song(folder: Path) -> Path:
    """Two seconds of noise, more than is needed to begin while it arrives."""
    return tone(folder / "song.wav", seconds=2, options=NOISE)


@pytest.fixture(scope="module")
def small(folder: Path) -> bytes:
    return tone(folder / "small.wav", seconds=0.2, rate=8000, channels=1).read_bytes()


@pytest.fixture(scope="module")
def long_song(folder: Path) -> bytes:
    """An hour and a half, which arrives in a moment and takes longer to encode than anybody waits here."""
    return tone(folder / "long.flac", seconds=5400, rate=8000, channels=1).read_bytes()


@pytest.fixture(autouse=True)
async def nothing_left(start: Start, tmp_path: Path) -> AsyncIterator[None]:
    """While the server still runs, no spool and no scratch folder is left of what is over."""
    assert start is not None  # it ends after this
    yield
    await eventually(lambda: not leftovers(tmp_path), seconds=GONE_SECONDS, what=lambda: leftovers(tmp_path))


def leftovers(tmp_path: Path) -> list[Path]:
    return [path for name in ("spool", "scratch") for path in (tmp_path / "data" / name).glob("*")]


def form_of(file: bytes, name: str, first: Mapping[str, str], last: Mapping[str, str]) -> FormData:
    data = FormData(quote_fields=False, default_to_multipart=True)
    for field, text in first.items():
        data.add_field(field, text)
    data.add_field("file", io.BytesIO(file), filename=name)
    for field, text in last.items():
        data.add_field(field, text)
    return data


async def convert(
    client: Client,
    file: Path | bytes,
    *,
    query: str = "",
    name: str = "song.wav",
    order: str = "first",
    **fields: str,
) -> Reply:
    """Send the file with the fields before it, or behind it with order="last"."""
    data = file if isinstance(file, bytes) else file.read_bytes()
    first, last = (fields, {}) if order == "first" else ({}, fields)
    async with client.post(f"/convert{query}", data=form_of(data, name, first, last)) as reply:
        return await read(reply)


def is_encoding() -> bool:
    """An encoder of this process reads what still arrives."""
    return any("pipe:0" in command_of(pid).split() for pid in descendants(os.getpid()))


async def convert_as(order: str, client: Client, file: Path | bytes, *, name: str = "song.wav", **fields: str) -> Reply:
    """Convert the file whole, or "first": as it grows, and then surely by an encoder that ran before its end came."""
    if order == "last":
        return await convert(client, file, name=name, order=order, **fields)
    data = file if isinstance(file, bytes) else file.read_bytes()
    body = closed(*(text_part(*field) for field in fields.items()), file_part(name, data))
    async with wired(client) as link:
        await link.post("/convert", body)
        await link.send(80_000)
        await link.send_slowly(100, until=is_encoding)
        return await link.finish()


def wired(client: Client) -> AbstractAsyncContextManager[Link]:
    """A connection that takes little on its own."""
    return linked(client.port, window_bytes=_WINDOW_BYTES)


async def shown(client: Client, conversion_id: str) -> dict[str, Any] | None:
    """How far a conversion is; None where there is none."""
    async with client.get(f"/convert/{conversion_id}") as reply:
        assert reply.status in (200, 404)
        document: dict[str, Any] = await reply.json()
        return document if reply.status == 200 else None


async def in_phase(client: Client, conversion_id: str, phase: str) -> dict[str, Any]:
    """The conversion, once it is so far."""

    async def is_so_far() -> dict[str, Any] | None:
        now = await shown(client, conversion_id)
        return now if now is not None and now["phase"] == phase else None

    return await eventually(is_so_far)


async def gone(client: Client, conversion_id: str) -> None:
    async def is_gone() -> bool:
        return await shown(client, conversion_id) is None

    await eventually(is_gone, seconds=GONE_SECONDS)


@dataclass
class Paced:
    """A conversion of which the first part of the upload was sent, and the rest waits."""

    id: str
    link: Link


@asynccontextmanager
async def begun(client: Client, body: bytes, sent: int, *, query: str = "") -> AsyncIterator[Paced]:
    """Begin to send a form; the server knows the conversion when this gives it."""
    conversion_id = new_id()
    async with wired(client) as link:
        await link.post(f"/convert?conversion_id={conversion_id}{query}", body)
        await link.send(sent)
        await in_phase(client, conversion_id, "receiving")
        yield Paced(conversion_id, link)


# What comes back


async def test_fields_may_come_in_any_order_and_in_the_query(start: Start, song: Path, tmp_path: Path) -> None:
    """Before the file, behind it, in the query or some here and some there: the same sound comes back."""
    client = await start()
    expected = decode(song)[RATE // 2 :]
    for number, answer in enumerate(
        [
            await convert(client, song, format="wav", start="0.5"),
            await convert(client, song, format="wav", start="0.5", order="last"),
            await convert(client, song, query="?format=wav&start=0.5"),
            await convert(client, song, query="?start=0.5", format="wav"),
            await convert(client, song, query="?format=wav", start="0.5", order="last"),
        ]
    ):
        assert np.array_equal(decode(answer.saved(tmp_path / f"{number}.wav")), expected)


async def test_what_comes_later_counts(start: Start, song: Path, tmp_path: Path) -> None:
    """A field counts more than the query, wherever it stands; an empty one counts as absent."""
    client = await start()
    whole = decode(song)
    behind = await convert(
        client, song, query="?format=mp3&start=0.5&duration=1", order="last", format="wav", start="1"
    )
    assert np.array_equal(decode(behind.saved(tmp_path / "behind.wav")), whole[RATE:])
    before = await convert(client, song, query="?format=mp3&start=0.5", format="wav", start="1", duration="")
    assert np.array_equal(decode(before.saved(tmp_path / "before.wav")), whole[RATE:])
    body = closed(text_part("format", "wav"), file_part("song.wav", song.read_bytes()), text_part("duration", "0.5"))
    async with begun(client, body, 100_000) as paced:
        await paced.link.send_slowly(100, until=is_encoding)
        # By now the whole is encoded, which then isn't what was asked for.
        mixed = await paced.link.finish()
    assert np.array_equal(decode(mixed.saved(tmp_path / "mixed.wav")), whole[: RATE // 2])


@FIRST_AND_LAST
async def test_a_body_may_come_in_chunks(start: Start, song: Path, tmp_path: Path, order: str) -> None:
    """Without a Content-Length the form is taken as well."""
    client = await start()
    parts = [text_part("format", "wav"), file_part("song.wav", song.read_bytes())]
    body = closed(*(parts if order == "first" else parts[::-1]))
    async with wired(client) as link:
        await link.write(request_head("POST", "/convert", None))
        for at in range(0, len(body), 50_000):
            await link.write(chunk(body[at : at + 50_000]))
        await link.write(LAST_CHUNK)
        answer = await link.reply()
    assert np.array_equal(decode(answer.saved(tmp_path / "out.wav")), decode(song))


@pytest.mark.thorough
async def test_every_format_comes_back_with_its_headers(start: Start, tmp_path: Path) -> None:
    """A download has its length, type and name, can't be asked for in parts, and is never stored."""
    client = await start()
    song = tone(tmp_path / "Jóga.wav", seconds=1, hertz=523)
    for name, form in FORMATS.items():
        answer = await convert(client, song, name=song.name, format=name)
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert answer.headers["Content-Type"] == form.media_type
        assert answer.headers["Accept-Ranges"] == "none"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        disposition = answer.headers["Content-Disposition"]
        assert disposition == f"attachment; filename=\"Joga{form.suffix}\"; filename*=UTF-8''J%C3%B3ga{form.suffix}"
        sound = decode(answer.saved(tmp_path / f"{name}{form.suffix}"), channels=2)
        rate = 48000 if form.codec.name == "opus" else RATE
        assert len(sound) == pytest.approx(rate, abs=0 if form.codec.lossless else form.codec.frame_samples)
        assert loudest_hertz(sound, rate) == pytest.approx(523, abs=2)


async def test_formats_are_listed(start: Start) -> None:
    """The list has each format once, with what can be asked of it."""
    client = await start()
    async with client.get("/v1/formats") as reply:
        assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
        listed = {form["name"]: form for form in (await reply.json())["formats"]}
    assert list(listed) == list(FORMATS)
    assert listed["mp3"]["bitrate"] == {"min": 8000, "max": 320000}
    assert (listed["wav"]["bitrate"], listed["wav"]["sample_rates"], listed["wav"]["lossless"]) == (None, None, True)
    assert listed["opus"]["sample_rates"] == [48000]


# Options


SOURCES = {
    "wav": NOISE,
    "flac": NOISE,
    "mp3": f"{NOISE} -b:a 320k",
    "ogg": f"{NOISE} -q:a 9",
    "m4a": f"{NOISE} -b:a 320k -movflags +faststart",
}


@pytest.mark.parametrize("kind", [*list(SOURCES)[::2], *thoroughly(*list(SOURCES)[1::2])])
async def test_a_part_is_cut_to_the_sample(start: Start, tmp_path: Path, kind: str) -> None:
    """Whatever the source and wherever the options stand, it is just that part of the source's decoded samples."""
    client = await start()
    source = tone(tmp_path / f"source.{kind}", seconds=6, options=SOURCES[kind])
    whole = decode(source, channels=2)
    part = {"start": "1.234567", "duration": "0.7654321"}
    for order, options, samples in (
        ("first", part, slice(54444, 88200)),
        ("last", part, slice(54444, 88200)),
        ("first", {"start": "0:00:02.5"}, slice(110250, None)),
    ):
        answer = await convert_as(order, client, source, format="wav", **options)
        assert np.array_equal(decode(answer.saved(tmp_path / "part.wav")), whole[samples])


async def test_rate_and_channels_are_changed(start: Start, tmp_path: Path) -> None:
    """The file has the rate and the channels that were asked for, and is as long as before."""
    client = await start()
    song = tone(tmp_path / "song.wav", seconds=1, hertz=440)
    for form, rate, channels in (("wav", 8000, 1), ("flac", 96000, 6), ("mp3", 22050, 1)):
        answer = await convert(client, song, format=form, sample_rate=str(rate), channels=str(channels))
        path = answer.saved(tmp_path / f"out.{form}")
        assert probe_stream(path, "sample_rate", "channels") == [str(rate), str(channels)]
        sound = decode(path)
        assert len(sound) == pytest.approx(rate, abs=1152)
        assert loudest_hertz(sound, rate) == pytest.approx(440, abs=2)


async def test_bit_rate_and_quality_are_heard_in_the_size(start: Start, song: Path) -> None:
    """A bit rate is what comes of it; a better quality is a larger file."""
    client = await start()
    for form in ("mp3", "m4a"):
        sizes = [len((await convert(client, song, format=form, bitrate=text)).body) for text in ("64k", "192000")]
        assert sizes == pytest.approx([64_000 * 2 / 8, 192_000 * 2 / 8], rel=0.35)
    low, best = [await convert(client, song, format="ogg", quality=text) for text in ("low", "best")]
    assert (low.status, best.status) == (200, 200)
    assert 2 * len(low.body) < len(best.body)


@FIRST_AND_LAST
async def test_tags_and_cover_are_kept_or_dropped(start: Start, tmp_path: Path, order: str) -> None:
    """Title and cover go along where the target can hold them, and neither does with metadata=drop."""
    client = await start()
    source = with_cover(tone(tmp_path / "plain.mp3", seconds=6, options=f"{NOISE} -b:a 320k"), tmp_path / "song.mp3")
    for form, metadata, expected in (
        ("m4a", "keep", ("Jóga", 1)),
        ("ogg", "", ("Jóga", 0)),
        ("flac", "drop", (None, 0)),
    ):
        answer = await convert_as(order, client, source, format=form, metadata=metadata)
        assert described(answer.saved(tmp_path / f"out.{form}")) == expected


@FIRST_AND_LAST
async def test_tags_behind_the_sound_are_seen(start: Start, song: Path, tmp_path: Path, order: str) -> None:
    """Tags at the end of a file, which no pipe shows, come along in both orders of fields."""
    client = await start()
    title = b"INAM" + struct.pack("<I", 6) + b"Words\0"
    tags = b"LIST" + struct.pack("<I", 4 + len(title)) + b"INFO" + title
    data = song.read_bytes() + tags
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    answer = await convert_as(order, client, data, format="flac")
    path = answer.saved(tmp_path / "out.flac")
    assert described(path) == ("Words", 0)
    assert np.array_equal(decode(path), decode(song))


def probe_stream(path: Path, *names: str) -> list[str]:
    entries = ["-select_streams", "a:0", "-show_entries", f"stream={','.join(names)}", "-of", "json", str(path)]
    shown = json.loads(subprocess.run(["ffprobe", "-v", "error", *entries], check=True, capture_output=True).stdout)
    return [str(shown["streams"][0][name]) for name in names]


def with_cover(sound: Path, path: Path) -> Path:
    """The sound with a title and a picture."""
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x64:duration=1", "-frames:v", "1", "-c:v", "png"]
    maps = ["-map", "0:a", "-map", "1:v", "-c:a", "copy", "-disposition:v", "attached_pic"]
    argv = [*FFMPEG, "-i", str(sound), *picture, *maps, "-metadata", "title=Jóga", str(path)]
    subprocess.run(argv, check=True)
    return path


def described(path: Path) -> tuple[str | None, int]:
    """The title, in the file or at its track, and the number of pictures."""
    argv = ["ffprobe", "-v", "error", "-show_entries", "format_tags:stream_tags:stream=codec_type", "-of", "json"]
    shown = json.loads(subprocess.run([*argv, str(path)], check=True, capture_output=True).stdout)
    tags = {**shown["streams"][0].get("tags", {}), **shown["format"].get("tags", {})}
    title = {name.lower(): text for name, text in tags.items()}.get("title")
    return title, sum(stream["codec_type"] == "video" for stream in shown["streams"])


# What can't be


BAD_OPTIONS = {
    "an unknown format": ({"format": "mp4"}, "There are: mp3, wav, flac,"),
    "a bit rate in words": ({"format": "mp3", "bitrate": "high"}, "bitrate must be bits per second"),
    "a bit rate beyond the codec": ({"format": "mp3", "bitrate": "400k"}, "between 8000 and 320000"),
    "a lossless bit rate": ({"format": "flac", "bitrate": "400k"}, "lossless"),
    "an unknown quality": ({"format": "mp3", "quality": "hi-fi"}, "one of low, medium, high, best"),
    "both": ({"format": "mp3", "quality": "low", "bitrate": "64k"}, "either bitrate or quality"),
    "a rate of the codec's": ({"format": "opus", "sample_rate": "44100"}, "must be one of 48000"),
    "channels": ({"format": "wav", "channels": "2.1"}, "channels must be a whole number"),
    "a negative start": ({"format": "wav", "start": "-1"}, "start must be a time"),
    "no duration": ({"format": "wav", "duration": "0"}, "more than 0"),
    "metadata": ({"format": "wav", "metadata": "no"}, "one of keep, drop"),
}


async def test_impossible_options_are_refused_wherever_they_stand(start: Start, small: bytes) -> None:
    """In the query, before the file or behind it: 400, in words, as a problem."""
    client = await start()
    for fields, words in BAD_OPTIONS.values():
        query = "?" + "&".join(f"{name}={text}" for name, text in fields.items())
        for answer in (
            await convert(client, small, query=query),
            await convert(client, small, **fields),
            await convert(client, small, order="last", **fields),
        ):
            assert answer.status == 400
            assert answer.problem["type"] == "/problems/bad-parameter"
            assert words in answer.detail


async def test_incomplete_forms_are_refused(start: Start, small: bytes) -> None:
    """Without a format, without a file or with an empty one: 400, and what is missing is named."""
    client = await start()
    wav, sound = text_part("format", "wav"), file_part("a.wav", small)
    for parts, slug, words in (
        ([sound], "bad-parameter", "Say in the field 'format' what you want. There are: mp3,"),
        ([sound, text_part("format", "")], "bad-parameter", "Say in the field 'format'"),
        ([wav], "missing-file", "Send the audio file in the field 'file'."),
        ([wav, file_part("a.wav", b"")], "missing-file", "The file is empty."),
        ([file_part("", b""), wav], "missing-file", "The file is empty."),
        ([wav, sound, sound], "bad-form", "more than one file"),
        ([wav, wav, sound], "bad-form", "the field 'format' more than once"),
        ([wav, text_part("volume", "11"), sound], "bad-form", "There is no field 'volume'. The fields are: format,"),
    ):
        async with client.post("/convert", data=closed(*parts), headers={"Content-Type": FORM_TYPE}) as reply:
            answer = await read(reply)
        assert answer.status == 400
        assert (answer.problem["type"], words in answer.detail) == (f"/problems/{slug}", True), answer.detail
    async with client.post("/convert", data=closed(wav, sound)[:-4], headers={"Content-Type": FORM_TYPE}) as reply:
        answer = await read(reply)
    assert (answer.status, answer.problem["type"]) == (400, "/problems/bad-form")


async def test_the_query_is_read_strictly(start: Start, small: bytes) -> None:
    """A parameter that there is not, one that is given twice, an id that is none: 400."""
    client = await start()
    for query, words in (
        ("?formt=mp3", "There is no parameter 'formt' here. Did you mean 'format'? There are: format,"),
        ("?format=mp3&format=wav", "given twice"),
        ("?conversion_id=1", "conversion_id must be a UUID"),
    ):
        answer = await convert(client, small, query=query, format="wav")
        assert (answer.status, words in answer.detail) == (400, True)


async def test_what_is_no_sound_is_unusable(start: Start) -> None:
    """A file that holds no sound is 422 in words that say what to send; so is a part that was sent as text."""
    client = await start()
    for data in (b"no sound", b"no sound " * 20_000, b"ID3\3\0\0\0\0\0\x0a" + bytes(90_000)):
        for order in ("first", "last"):
            answer = await convert(client, data, order=order, format="mp3", name="song.mp3")
            assert (answer.status, answer.problem["type"]) == (422, "/problems/unusable-file")
            assert "sound" in answer.detail
    body = closed(text_part("file", "interview.wav"), text_part("format", "mp3"))
    async with client.post("/convert", data=body, headers={"Content-Type": FORM_TYPE}) as reply:
        assert reply.status == 422
        assert "with curl, write file=@NAME" in (await reply.json())["detail"]


# Each states its length at its start or has an index. Those that can be decoded as they come are, format first.
TRUNCATED = {
    "song.wav": ("", ["first", "last"]),
    "song.mp3": ("-b:a 320k", ["first", "last"]),
    "song.flac": ("", ["first", "last"]),
    "index-first.m4a": ("-b:a 320k -movflags +faststart", ["first", "last"]),
    "index-last.m4a": ("-b:a 320k", ["last"]),
    "song.mka": ("-c:a flac", ["first", "last"]),
    "song.aiff": ("", ["last"]),
    "song.wv": ("", ["last"]),
    "song.caf": ("", ["last"]),
    "song.w64": ("", ["last"]),
    "adpcm.wav": ("-c:a adpcm_ms", ["first", "last"]),
}


@pytest.mark.parametrize("name", TRUNCATED)
async def test_a_file_that_ends_in_the_middle_is_unusable(start: Start, tmp_path: Path, name: str) -> None:
    """Half of a song is 422 and never a song, whether it was decoded while it arrived or afterwards."""
    client = await start()
    options, orders = TRUNCATED[name]
    source = tone(tmp_path / name, seconds=8, options=f"{NOISE} {options}").read_bytes()
    for order in orders:
        answer = await convert_as(order, client, source[: len(source) // 2], name=name, format="wav")
        # Without its index nothing of a file can be had.
        slug = "unusable-file" if name == "index-last.m4a" else "damaged-file"
        assert (answer.status, answer.problem["type"]) == (422, f"/problems/{slug}")
        assert "in the middle" in answer.detail


async def test_a_whole_file_is_not_taken_for_a_cut_one(start: Start, tmp_path: Path) -> None:
    """A length that is rounded up to the codec's frames is no promise of that much sound."""
    client = await start()
    source = tone(tmp_path / "song.caf", seconds=2, options=f"{NOISE} -c:a alac")
    answer = await convert(client, source, name=source.name, format="wav")
    assert np.array_equal(decode(answer.saved(tmp_path / "out.wav")), decode(source))


async def test_a_part_before_the_place_where_a_file_ends(start: Start, song: Path, tmp_path: Path) -> None:
    """Of a file that ends too early, what lies before its end is all of what was asked for; what doesn't is 422."""
    client = await start()
    half = song.read_bytes()[: song.stat().st_size // 2]
    for order in ("first", "last"):
        answer = await convert_as(order, client, half, format="wav", start="0.25", duration="0.5")
        expected = decode(song)[RATE // 4 : RATE * 3 // 4]
        assert np.array_equal(decode(answer.saved(tmp_path / f"{order}.wav")), expected)
        for part in ({"start": "0.75", "duration": "0.5"}, {"start": "1.5"}):
            answer = await convert_as(order, client, half, format="wav", **part)
            assert (answer.status, "ends in the middle" in answer.detail) == (422, True)


@FIRST_AND_LAST
async def test_a_file_that_states_its_size_has_it(start: Start, tmp_path: Path, order: str) -> None:
    """Matroska says how large the file is: where bytes are missing it is 422, even where the sound might be whole."""
    client = await start()
    data = tone(tmp_path / "song.mka", seconds=3, options=f"{NOISE} -c:a flac").read_bytes()[:-1000]
    answer = await convert_as(order, client, data, name="song.mka", format="wav", duration="1")
    assert (answer.status, "1000 of " in answer.detail) == (422, True)


@FIRST_AND_LAST
async def test_a_start_behind_the_end_is_refused(start: Start, song: Path, tmp_path: Path, order: str) -> None:
    """There is nothing to send: 400, with the length of the sound."""
    client = await start()
    for start_seconds in ("2", "2.5", "1:00:00"):
        answer = await convert_as(order, client, song, format="mp3", start=start_seconds)
        assert answer.status == 400
        assert answer.detail == "start lies behind the end of the sound, which is 2.0 s long."


@FIRST_AND_LAST
async def test_sound_that_is_too_long_is_refused(start: Start, tmp_path: Path, order: str) -> None:
    """More than max_duration_seconds is 422, whether the file says how long it is or not."""
    client = await start(limits={"max_duration_seconds": 1.0})
    for name, options in (("song.wav", ""), ("song.mp3", "-b:a 320k -write_xing 0"), ("song.aac", "-b:a 320k")):
        long = tone(tmp_path / name, seconds=6, options=f"{NOISE} {options}")
        # What says so at its start isn't even begun.
        send = partial(convert, order=order) if name.endswith(".wav") else partial(convert_as, order)
        answer = await send(client, long, name=name, format="wav")
        assert answer.status == 422
        assert "1.0 s" in answer.detail
    fits = tone(tmp_path / "fits.wav", seconds=1)
    assert (await convert(client, fits, order=order, format="wav")).status == 200


async def test_a_form_that_is_too_large_is_refused(start: Start) -> None:
    """One byte more than allowed is 413: by its Content-Length at once, in chunks as soon as it was sent."""
    client = await start(limits={"max_upload_bytes": 1 << 20})
    async with wired(client) as link:
        await link.write(request_head("POST", "/convert", 1 << 30))
        answer = await link.reply()
        assert (answer.status, answer.headers["Connection"]) == (413, "close")
    async with wired(client) as link:
        await link.write(request_head("POST", "/convert?format=wav", None))
        await link.write(chunk(file_part("a.wav", b"")[:-2]))
        for _ in range(3):
            await link.write(chunk(bytes(1 << 19)))
        answer = await link.reply()
    assert (answer.status, answer.headers["Connection"]) == (413, "close")
    assert answer.detail == "The file is larger than 1048576 bytes."


async def test_other_content_types_are_refused(start: Start, small: bytes) -> None:
    """What is no form is 415, and so is one that was compressed."""
    client = await start()
    for headers in (
        {"Content-Type": "audio/wav"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": f"multipart/mixed; boundary={BOUNDARY}"},
        {"Content-Type": FORM_TYPE, "Content-Encoding": "gzip"},
    ):
        async with client.post("/convert?format=wav", data=small, headers=headers) as reply:
            answer = await read(reply)
        assert (answer.status, answer.problem["type"]) == (415, "/problems/wrong-content-type")


async def test_what_comes_at_once_is_encoded_once(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is there in a moment is encoded as a whole: nobody begins with its first bytes, for nothing."""

    async def begin(*_arguments: object) -> None:
        raise AssertionError("it was begun while it arrived")

    monkeypatch.setattr("streamsrv.convert.upload.growing_material", begin)
    source = tone(folder / "at_once.flac", seconds=20)
    assert source.stat().st_size > HEAD_BYTES
    assert (await convert(await start(), source, format="flac")).status == 200


async def test_other_methods_are_refused(start: Start) -> None:
    """Each address names the methods that it takes."""
    client = await start()
    for method, path, allowed in (
        ("GET", "/convert", "POST"),
        ("PUT", "/convert", "POST"),
        ("DELETE", f"/convert/{uuid.uuid4()}", "GET"),
        ("POST", "/v1/formats", "GET"),
    ):
        async with client.request(method, path) as reply:
            answer = await read(reply)
        assert (answer.status, answer.problem["type"]) == (405, "/problems/method-not-allowed")
        assert allowed in answer.headers["Allow"]


# Expect: 100-continue


EXPECT = "Expect: 100-continue"


async def test_a_body_is_asked_for_where_the_outcome_is_open(start: Start, small: bytes, tmp_path: Path) -> None:
    """Who waits to be asked is asked once, and then answered as anybody else."""
    client = await start()
    body = closed(text_part("format", "wav"), file_part("a.wav", small))
    late = closed(text_part("format", "mp4"), file_part("a.wav", small))
    async with wired(client) as link:
        # What is found out later is said as ever, too.
        await link.post("/convert", late, EXPECT)
        assert (await link.head())[0] == 100
        assert "There is no format 'mp4'" in (await link.finish()).detail
    async with wired(client) as link:
        await link.post("/convert", body, EXPECT)
        assert (await link.head())[0] == 100
        answer = await link.finish()
        assert len(decode(answer.saved(tmp_path / "out.wav"))) == 1600
        # The connection goes on, and is in step.
        await link.post("/convert", body)
        assert (await link.finish()).body == answer.body


async def test_a_body_that_would_be_refused_is_not_asked_for(start: Start) -> None:
    """Too large, of another type, with a query that can't be, with a name that is taken: refused before it is sent."""
    client = await start(limits={"max_upload_bytes": 1 << 20})
    head = text_part("format", "wav")
    async with begun(client, head + bytes(1000), len(head)) as other:
        for length, kind, query, status in (
            (1 << 30, FORM_TYPE, "?format=wav", 413),
            (1000, "audio/wav", "?format=wav", 415),
            (1000, f"{FORM_TYPE}\r\nContent-Encoding: gzip", "?format=wav", 415),
            (1000, "multipart/form-data", "", 400),
            (1000, FORM_TYPE, "?format=mp4", 400),
            (1000, FORM_TYPE, "?formt=mp3", 400),
            (1000, FORM_TYPE, "?format=mp3&channels=3", 400),
            (1000, FORM_TYPE, "?conversion_id=1", 400),
            (1000, FORM_TYPE, f"?conversion_id={other.id.upper()}", 409),
        ):
            async with wired(client) as link:
                await link.write(request_head("POST", f"/convert{query}", length, EXPECT, content_type=kind))
                answer = await link.reply()
            # It may come all the same, so that the connection can't go on.
            assert (answer.status, answer.headers["Connection"]) == (status, "close"), query
            assert answer.detail
    await gone(client, other.id)


async def test_a_busy_server_asks_for_no_body(start: Start) -> None:
    """Where there is no place the client learns it before it sends anything."""
    client = await start(convert={"max_requests": 1})
    head = text_part("format", "wav")
    async with begun(client, head + bytes(1000), len(head)) as other, wired(client) as link:
        await link.write(request_head("POST", "/convert?format=wav", 1000, EXPECT))
        answer = await link.reply()
    assert (answer.status, answer.headers["Retry-After"], answer.headers["Connection"]) == (503, "5", "close")
    await gone(client, other.id)


async def test_other_expectations_are_refused(start: Start) -> None:
    """What else a client may expect is 417; one that speaks HTTP/1.0 is asked for nothing."""
    client = await start()
    async with wired(client) as link:
        await link.write(request_head("POST", "/convert?format=wav", 1000, "Expect: wonders"))
        answer = await link.reply()
    assert (answer.status, answer.detail) == (417, "Expect takes nothing but 100-continue.")
    body = closed(text_part("format", "mp4"), file_part("a.wav", b"x"))
    async with wired(client) as link:
        await link.post("/convert", body, EXPECT, version="1.0")
        assert (await link.finish()).status == 400


# How far it is


async def test_a_conversion_can_be_watched(start: Start, tmp_path: Path) -> None:
    """While it is sent it tells what has come and how much of the sound is done; after the reply nothing is known."""
    client = await start()
    source = tone(tmp_path / "minute.wav", seconds=60)
    body = closed(text_part("format", "wav"), file_part("a.wav", source.read_bytes()))
    async with begun(client, body, len(body) // 10) as paced:
        now: dict[str, Any] = {}

        async def is_well_on() -> bool:
            now.update(await shown(client, paced.id) or {})
            return (now["progress"] or 0) > 15

        await paced.link.send_slowly(50_000, until=is_well_on)
        assert (now["id"], now["phase"], now["expected_bytes"]) == (paced.id, "receiving", len(body))
        assert 0 < now["received_bytes"] <= len(body) - paced.link.left < len(body)
        assert now["progress"] / 100 < (len(body) - paced.link.left) / len(body)
        await paced.link.send()
        status, headers = await paced.link.head()
        # Ten megabytes that nobody reads yet. They are what was made meanwhile.
        then = await in_phase(client, paced.id, "replying")
        assert [path.name.split(".")[2] for path in leftovers(tmp_path)] == ["live"]
        assert (then["progress"], then["received_bytes"]) == (100, source.stat().st_size)
        rest = await paced.link.reader.readexactly(int(headers["Content-Length"]))
    assert np.array_equal(decode(Reply(status, headers, rest).saved(tmp_path / "out.wav")), decode(source))
    await gone(client, paced.id)


async def test_a_name_is_taken_as_long_as_its_conversion_lasts(start: Start, small: bytes) -> None:
    """A second conversion of the same name is 409; afterwards the name is free."""
    client = await start()
    body = closed(text_part("format", "wav"), file_part("a.wav", small))
    async with begun(client, body, 300) as paced:
        for name in (paced.id, paced.id.upper()):
            answer = await convert(client, small, query=f"?conversion_id={name}&format=wav")
            assert (answer.status, answer.problem["type"]) == (409, "/problems/conflict")
        assert (await paced.link.finish()).status == 200
    await gone(client, paced.id)
    assert (await convert(client, small, query=f"?conversion_id={paced.id}&format=wav")).status == 200


async def test_what_is_not_going_on_is_not_found(start: Start) -> None:
    """An id of no conversion, and what is no id: 404."""
    client = await start()
    for name in (new_id(), "1", "formats", "..%2f"):
        async with client.get(f"/convert/{name}") as reply:
            assert (reply.status, reply.headers["Content-Type"]) == (404, "application/problem+json")


# How many at once


async def test_a_busy_server_says_when_to_come_again(start: Start, small: bytes) -> None:
    """With one place a second conversion is 503 with Retry-After; the first one ends well, and then another does."""
    client = await start(convert={"max_requests": 1})
    body = closed(text_part("format", "wav"), file_part("a.wav", small))
    async with begun(client, body, 300) as paced:
        refused = await convert(client, small, format="wav")
        assert (refused.status, refused.problem["type"]) == (503, "/problems/unavailable")
        assert refused.headers["Retry-After"] == "5"
        assert "busy with 1 conversions" in refused.detail
        assert (await paced.link.finish()).status == 200
    await gone(client, paced.id)
    assert (await convert(client, small, format="wav")).status == 200


async def test_every_end_gives_its_place_back(start: Start, small: bytes) -> None:
    """Refused, unusable, broken off or left: with one place, the next conversion finds it free."""
    client = await start(convert={"max_requests": 1})
    assert (await convert(client, small, format="mp4")).status == 400
    assert (await convert(client, b"no sound", format="mp3")).status == 422
    body = closed(text_part("format", "wav"), file_part("a.wav", small))
    async with client.post("/convert", data=body[:-10], headers={"Content-Type": FORM_TYPE}) as reply:
        assert reply.status == 400
    async with begun(client, body, 300) as paced:
        pass
    await gone(client, paced.id)
    assert (await convert(client, small, format="wav")).status == 200


async def test_uploads_may_all_wait_for_their_end(start: Start, song: Path, tmp_path: Path) -> None:
    """With live_uploads = 0 and one encoder at a time, several at once come out as ever."""
    client = await start(convert={"live_uploads": 0, "concurrency": 1})
    async with asyncio.TaskGroup() as tasks:
        orders = ("first", "last", "first")
        sent = [tasks.create_task(convert(client, song, order=order, format="flac")) for order in orders]
    for number, task in enumerate(sent):
        assert np.array_equal(decode(task.result().saved(tmp_path / f"{number}.flac")), decode(song))


async def test_one_waits_until_another_is_encoded(start: Start, small: bytes, long_song: bytes) -> None:
    """With one encoder the second file waits, and says so; when the first client leaves, its turn comes at once."""
    client = await start(convert={"live_uploads": 0, "concurrency": 1})
    long_body = closed(text_part("format", "opus"), file_part("a.flac", long_song))
    body = closed(text_part("format", "wav"), file_part("a.wav", small))
    async with begun(client, body, 300) as waits:
        async with begun(client, long_body, 300) as works:
            await works.link.send()
            await in_phase(client, works.id, "encoding")
            await waits.link.send()
            assert (await in_phase(client, waits.id, "waiting"))["progress"] is None

            async def has_begun() -> dict[str, Any] | None:
                now = await shown(client, works.id)
                return now if now is not None and (now["progress"] or 0) > 0 else None

            assert (await eventually(has_begun))["progress"] < 100
        left = time.monotonic()
        answer = await waits.link.reply()
        assert time.monotonic() - left < TURN_SECONDS
    assert answer.status == 200
    await gone(client, works.id)


# Who leaves, and what breaks


@pytest.mark.parametrize("sent", [0.0, 0.5])
async def test_who_leaves_while_sending_leaves_nothing(
    start: Start, long_song: bytes, tmp_path: Path, sent: float
) -> None:
    """A client that breaks off while its file is encoded takes encoder, spool and scratch folder with it."""
    client = await start()
    body = closed(text_part("format", "opus"), file_part("a.flac", long_song))
    async with begun(client, body, 300 + int(sent * len(body))) as paced:
        await eventually(lambda: sent == 0 or len(leftovers(tmp_path)) == 2)
    await gone(client, paced.id)


async def test_who_leaves_while_it_is_encoded_leaves_nothing(start: Start, long_song: bytes, tmp_path: Path) -> None:
    """A client that has sent everything and goes before the reply isn't worked for any longer."""
    client = await start()
    body = closed(file_part("a.flac", long_song), text_part("format", "opus"))
    async with begun(client, body, 300) as paced:
        await paced.link.send()
        await in_phase(client, paced.id, "encoding")
        await eventually(lambda: len(leftovers(tmp_path)) == 2)
    await gone(client, paced.id)


@asynccontextmanager
async def unread(client: Client, folder: Path) -> AsyncIterator[Paced]:
    """A reply of 14 MB that has begun and that nobody reads."""
    source = tone(folder / "a.flac", seconds=80).read_bytes()
    body = closed(text_part("format", "wav"), file_part("a.flac", source))
    async with begun(client, body, 300) as paced:
        await paced.link.send()
        await in_phase(client, paced.id, "replying")
        yield paced


async def test_who_leaves_while_it_is_sent_leaves_nothing(start: Start, tmp_path: Path) -> None:
    """A client that goes in the middle of the reply ends it."""
    client = await start()
    async with unread(client, tmp_path) as paced:
        paced.link.leave()
        await gone(client, paced.id)


async def test_who_takes_nothing_is_cut_off(start: Start, tmp_path: Path) -> None:
    """A client that reads nothing for download_idle_seconds gets no more, and can tell that it isn't all."""
    client = await start(limits={"download_idle_seconds": 0.5})
    async with unread(client, tmp_path) as paced:
        await gone(client, paced.id)
        status, headers = await paced.link.head()
        received = await paced.link.rest()
    assert status == 200
    assert len(received) < int(headers["Content-Length"])


async def test_a_disk_that_fails_while_replying_cuts_the_connection(start: Start, tmp_path: Path) -> None:
    """Where the file can't be read to its end, the reply ends before its length: no part passes for the whole."""
    client = await start()
    async with unread(client, tmp_path) as paced:
        status, headers = await paced.link.head()  # its length is told
        (made,) = (tmp_path / "data" / "scratch").glob("*/*.wav")
        with made.open("r+b") as file:
            file.truncate(made.stat().st_size - 1000)
        received = await paced.link.rest()
        assert status == 200
        assert len(received) < int(headers["Content-Length"])
        await gone(client, paced.id)
