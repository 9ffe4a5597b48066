"""What goes along with the sound: tags and cover art travel to every format that has room for them, and nothing else
does. Whatever they are, they never cost the sound.
"""

import base64
import json
import re
import struct
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.server import Server
from support.sound import FFMPEG, loudest_hertz
from support.spread import spread, thoroughly
from support.wire.conversion import Conversion
from support.wire.messages import Reply

HERTZ, RATE = 660.0, 44100
SENDERS = 4
# What can be decoded while it arrives. Before its last part is sent, as much is there as is needed to begin.
LIVE = {".mp3", ".flac", ".m4a", ".ogg", ".opus", ".wav", ".mka", ".mkv", ".aac"}
PIECES, PAUSE_SECONDS, LAST_BYTES = 20, 0.01, 8 << 10

SUFFIXES = {
    **{name: f".{name}" for name in ("mp3", "wav", "flac", "ogg", "opus", "m4a", "aiff", "webm", "mka", "wv", "caf")},
    **dict.fromkeys(("aac", "alac"), ".m4a"),
}
# Songs of more bytes than are needed to begin while they arrive, by their suffix.
SONGS = {
    "mp3": "-b:a 320k -id3v2_version 3",
    "flac": "-c:a flac",
    "m4a": "-c:a aac -b:a 500k -movflags +faststart",
    "ogg": "-c:a libvorbis -q:a 10",
    "opus": "-c:a libopus -b:a 450k",
    "wav": "-c:a pcm_s16le",
    "aiff": "-write_id3v2 1",
    "mka": "-c:a flac",
}
# Without any tag.
BARE = {"mp3": "-bitexact -id3v2_version 0", "aac": "-bitexact -b:a 500k"}
TAGS = {
    "title": "Für Élise — 春のうた 🎵",
    "artist": "Ærøskøbing; Σίσυφος",
    "album": 'a=b \\ "c" #d',
    "date": "2024",
    "track": "3/12",
}
# What containers say of themselves, ours included.
OWN_NOTES = {
    ".m4a": {"major_brand", "minor_version", "compatible_brands", "vendor_id", "handler_name", "language"},
    ".mka": {"duration"},
    ".webm": {"duration"},
}

# Each kind of song into two others, and each format made of two; `make test-all` tries all pairs.
SOME = spread({suffix: tuple(SONGS) for suffix in SONGS}, in_row=2, in_column=2)
ORDERS = ("format first", "file first")
HOLD_PICTURES = ("mp3", "flac", "m4a", "aiff")

# Bitexact ones don't say of which version they are, those of the sources do.
OUR_ENCODER = re.compile(r"Lav[cf]( |$)")

CHAPTERS = """;FFMETADATA1
title=A story
[CHAPTER]
TIMEBASE=1/1000
START=0
END=1000
title=One
[CHAPTER]
TIMEBASE=1/1000
START=1000
END=2000
title=Two
"""
SUBTITLES = "1\n00:00:00,100 --> 00:00:01,500\nwords\n"


@cache
def noisy_tone(seconds: float = 2.0) -> bytes:
    """A tone in noise, which no codec makes small: raw float samples in stereo."""
    times = np.arange(int(seconds * RATE)) / RATE
    sound = np.random.default_rng(3).normal(0, 0.05, (len(times), 2))
    sound += 0.4 * np.sin(2 * np.pi * HERTZ * times)[:, None]
    return sound.astype("<f4").tobytes()


def make(
    path: Path,
    options: str = "",
    *,
    inputs: Iterable[str] = (),
    tags: dict[str, str] | None = None,
    more: Iterable[str] = (),
) -> Path:
    """A song in the format of its suffix. `inputs`, `options` and `more` are more of ffmpeg's."""
    words = [word for name, value in (tags or {}).items() for word in ("-metadata", f"{name}={value}")]
    raw = ["-f", "f32le", "-ar", str(RATE), "-ac", "2", "-i", "pipe:0"]
    argv = [*FFMPEG, *raw, *inputs, *SONGS.get(path.suffix[1:], "").split(), *options.split(), *words, *more, str(path)]
    made = subprocess.run(argv, input=noisy_tone(), check=False, timeout=60, capture_output=True)
    assert made.returncode == 0, made.stderr
    return path


def picture(folder: Path, kind: str, *, size: int = 120) -> Path:
    """A square of noise, `size` pixels wide; `kind` is the suffix."""
    pixels = np.random.default_rng(5).integers(0, 256, (size, size, 3), dtype=np.uint8)
    path = folder / f"cover.{kind}"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size}x{size}", "-i", "pipe:0"]
    quality = ["-q:v", "1"] if kind == "jpg" else []
    argv = [*FFMPEG, *raw, "-frames:v", "1", *quality, str(path)]
    subprocess.run(argv, input=pixels.tobytes(), check=True, timeout=60)
    return path


def with_cover(path: Path, cover: Path, **tags: str) -> Path:
    """A song with that picture, byte for byte, as its cover."""
    options = "-map 0:a -map 1:v -c:v copy -disposition:v attached_pic"
    return make(path, options, inputs=["-i", str(cover)], tags=tags)


def describe(path: Path) -> dict[str, Any]:
    """What ffprobe sees in a file."""
    return _describe(path, path.stat().st_mtime_ns)


@cache
def _describe(path: Path, _written_ns: int) -> dict[str, Any]:
    shown = ["-show_format", "-show_streams", "-show_chapters", "-of", "json"]
    argv = ["ffprobe", "-loglevel", "error", *shown, str(path)]
    return json.loads(subprocess.run(argv, check=True, timeout=60, capture_output=True, text=True).stdout)


def tags_of(path: Path) -> dict[str, str]:
    """All tags of a file, of the whole and of its sound, but for what container and encoder note about themselves."""
    report = describe(path)
    sound = next(stream for stream in report["streams"] if stream["codec_type"] == "audio")
    found = {**report["format"].get("tags", {}), **sound.get("tags", {})}
    lower = {name.lower(): text for name, text in found.items() if not OUR_ENCODER.match(text)}
    return {name: text for name, text in lower.items() if name not in OWN_NOTES.get(path.suffix, ())}


def kinds_of_tracks(path: Path) -> list[str]:
    return [stream["codec_type"] for stream in describe(path)["streams"]]


def picture_of(path: Path) -> bytes:
    """The cover's own bytes."""
    argv = [*FFMPEG, "-i", str(path), "-map", "0:v", "-c", "copy", "-f", "image2pipe", "pipe:1"]
    return subprocess.run(argv, check=True, timeout=60, capture_output=True).stdout


def send(server: Server, file: Path, target: str, *, order: str = "format first", **options: str) -> Reply:
    """Convert a file. With the format first it goes in pieces; the last one once it is read while it arrives."""
    late = order == "file first"
    with Conversion(server, file, target, options=options, late=late) as conversion:
        if not late:
            last = 1 - LAST_BYTES / conversion.left
            send_in_pieces(conversion, last)
            if file.suffix in LIVE:
                conversion.send_slowly(last, 1.0, until=conversion.is_read, seconds=60.0)
        return conversion.finish()


def send_in_pieces(conversion: Conversion, last: float) -> None:
    """Send all but the last part, a piece at a time."""
    for share in np.linspace(last / PIECES, last, PIECES):
        conversion.send_until(float(share))
        time.sleep(PAUSE_SECONDS)  # this is how a slow sender sends


def convert(server: Server, file: Path, target: str, **options: str) -> Path:
    """The file that came back, beside the one that was sent."""
    reply = send(server, file, target, **options)
    assert reply.status == 200, reply
    path = file.with_name(f"{file.name} {uuid.uuid4()}{SUFFIXES[target]}")
    path.write_bytes(reply.body)
    return path


def convert_to_all(server: Server, file: Path, targets: Iterable[str], **options: str) -> dict[str, Path]:
    """The file in each of the formats, a few at a time."""
    targets = list(targets)
    with ThreadPoolExecutor(SENDERS) as pool:
        return dict(zip(targets, pool.map(lambda name: convert(server, file, name, **options), targets), strict=True))


def convert_both_ways(server: Server, file: Path, targets: Iterable[str]) -> dict[str, Path]:
    """The file in each of the formats; sent in the other order it gives the same bytes."""
    early, late = (convert_to_all(server, file, targets, order=order) for order in ORDERS)
    for name, path in early.items():
        if path.read_bytes() != late[name].read_bytes():  # the same bytes have the same tags
            assert (name, tags_of(path)) == (name, tags_of(late[name]))
            pytest.fail(f"{name}: the bytes depend on the order, the tags don't")
    return early


def assert_whole(path: Path, source: Path) -> None:
    """All of the source's sound is there, and nothing but sound and at most a picture."""
    sound, wanted = listen(path), listen(source)
    assert abs(len(sound) - len(wanted)) <= 2 * 1152
    assert loudest_hertz(sound, RATE) == pytest.approx(HERTZ, abs=2)


def listen(path: Path) -> np.ndarray:
    """What a player plays, at one rate for all."""
    return _listen(path, path.stat().st_mtime_ns)


# A song is compared with several files that were made of it.
@lru_cache(maxsize=8)
def _listen(path: Path, _written_ns: int) -> np.ndarray:
    argv = [*FFMPEG, "-i", str(path), "-map", "0:a:0", "-ar", str(RATE), "-ac", "2", "-f", "s16le", "pipe:1"]
    return np.frombuffer(subprocess.run(argv, check=True, timeout=60, capture_output=True).stdout, "<i2").reshape(-1, 2)


@pytest.mark.parametrize("is_some", [True, *thoroughly(False)], ids=["some", "rest"])
@pytest.mark.parametrize("suffix", SONGS)
def test_tags_travel_and_nothing_else_does(server: Server, tmp_path: Path, suffix: str, is_some: bool) -> None:
    """Title, artist, album, date and track arrive letter by letter, and none of what the old container noted."""
    song = make(tmp_path / f"song.{suffix}", tags=TAGS)
    assert tags_of(song).items() >= TAGS.items()
    targets = [target for target in SONGS if ((suffix, target) in SOME) is is_some]
    found = {name: tags_of(path) for name, path in convert_to_all(server, song, targets).items()}
    assert {name: tags for name, tags in found.items() if tags != TAGS} == {}


def test_tags_travel_to_the_other_formats(server: Server, tmp_path: Path) -> None:
    """What isn't on everybody's disk keeps tags, too."""
    song = make(tmp_path / "song.flac", tags=TAGS)
    others = sorted(SUFFIXES.keys() - SONGS.keys())
    found = {name: tags_of(path) for name, path in convert_to_all(server, song, others).items()}
    assert {name: tags for name, tags in found.items() if tags != TAGS} == {}


@pytest.mark.thorough
def test_what_a_film_notes_stays_there(server: Server, tmp_path: Path) -> None:
    """The name of a track isn't the name of the song, and statistics of an old file aren't facts of the new one."""
    notes = {
        "title": "Stereo",
        "language": "eng",
        "BPS-eng": "1411200",
        "_STATISTICS_TAGS": "BPS",
        "DURATION-eng": "0:02",
    }
    words = " ".join(f"-metadata:s:a:0 {name}={text}" for name, text in notes.items())
    song = make(tmp_path / "song.mka", words, tags=TAGS)
    found = {name: tags_of(path) for name, path in convert_to_all(server, song, SONGS).items()}
    assert {name: tags for name, tags in found.items() if tags != TAGS} == {}


def test_long_and_odd_words_stay_as_they_are(server: Server, tmp_path: Path) -> None:
    """A tag is never taken for something else, whatever its letters are, and none is cut off."""
    odd = {
        "title": "-i /etc/passwd\nline two",
        "artist": "x" * 5000,
        "album": "%s $HOME `id` \u202edrow",
        "comment": "=",
    }
    song = make(tmp_path / "song.flac", tags=odd)
    found = {name: tags_of(path) for name, path in convert_to_all(server, song, ("mp3", "m4a", "opus", "mka")).items()}
    assert {name: tags for name, tags in found.items() if tags != odd} == {}


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        *(("mp3", "jpg"), ("m4a", "png")),
        *thoroughly(("flac", "png"), ("mp3", "png"), ("flac", "jpg"), ("m4a", "jpg")),
    ],
)
def test_a_cover_travels(server: Server, tmp_path: Path, suffix: str, kind: str) -> None:
    """A cover comes back byte for byte from each format that can hold one; the others leave out no more than that."""
    cover = picture(tmp_path, kind)
    song = with_cover(tmp_path / f"song.{suffix}", cover, title="With a cover")
    made = convert_to_all(server, song, (*HOLD_PICTURES, "ogg", "wav"))
    for name in HOLD_PICTURES:
        assert kinds_of_tracks(made[name]) == ["audio", "video"], name
        assert picture_of(made[name]) == cover.read_bytes(), name
    for name in ("ogg", "wav"):
        assert kinds_of_tracks(made[name]) == ["audio"], name
    assert {tags_of(path)["title"] for path in made.values()} == {"With a cover"}


@pytest.mark.parametrize("suffix", thoroughly("flac", "mp3", "m4a"))
def test_a_large_cover_arrives_in_pieces(server: Server, tmp_path: Path, suffix: str) -> None:
    """A cover of several megabytes before the sound is waited for while it arrives, and comes back as it was."""
    cover = picture(tmp_path, "png", size=1300)
    assert cover.stat().st_size > 5_000_000
    song = with_cover(tmp_path / f"song.{suffix}", cover)
    late = convert(server, song, "flac", order="file first")
    for made in (*convert_to_all(server, song, HOLD_PICTURES).values(), late):
        assert picture_of(made) == cover.read_bytes()
        assert_whole(made, song)


@pytest.mark.parametrize("suffix", ["ogg", *thoroughly("opus", "mka")])
def test_a_cover_in_other_formats_costs_nothing(server: Server, tmp_path: Path, suffix: str) -> None:
    """Ogg holds a cover in a tag and Matroska as an attachment: the sound comes back whole, the picture as it was."""
    cover = picture(tmp_path, "png")
    block = picture_block(cover.read_bytes(), "image/png")
    if suffix == "mka":
        song = make(tmp_path / "song.mka", f"-attach {cover} -metadata:s:t mimetype=image/png")
    else:
        song = make(tmp_path / f"song.{suffix}", tags={"metadata_block_picture": base64.b64encode(block).decode()})
    assert kinds_of_tracks(song) == ["audio", "video"]
    for target, made in convert_both_ways(server, song, ("mp3", "ogg")).items():
        assert_whole(made, song)
        if target != "ogg":
            assert picture_of(made) == cover.read_bytes()


def test_two_covers_travel(server: Server, tmp_path: Path) -> None:
    """A front and a back cover both come along, and which is which."""
    front, back = picture(tmp_path, "png"), picture(tmp_path, "jpg")
    options = "-map 0:a -map 1:v -map 2:v -c:v copy -disposition:v attached_pic"
    kinds = ["-metadata:s:v:0", "comment=Cover (front)", "-metadata:s:v:1", "comment=Cover (back)"]
    song = make(tmp_path / "song.mp3", options, inputs=["-i", str(front), "-i", str(back)], more=kinds)
    for made in convert_both_ways(server, song, ("mp3", "flac")).values():
        pictures = [stream for stream in describe(made)["streams"] if stream["codec_type"] == "video"]
        assert [stream["tags"]["comment"] for stream in pictures] == ["Cover (front)", "Cover (back)"]
        assert [stream["codec_name"] for stream in pictures] == ["png", "mjpeg"]


def picture_block(content: bytes, media_type: str) -> bytes:
    """FLAC's picture block without its header (RFC 9639 section 8.8): a front cover."""
    name = media_type.encode()
    return struct.pack(">2I", 3, len(name)) + name + struct.pack(">6I", 0, 0, 0, 0, 0, len(content)) + content


def id3_tag(*frames: tuple[str, bytes]) -> bytes:
    """An ID3v2.3 tag of these frames."""
    body = b"".join(struct.pack(">4sIH", name.encode(), len(content), 0) + content for name, content in frames)
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + body


def id3_picture(content: bytes, media_type: str) -> tuple[str, bytes]:
    return "APIC", b"\x00" + media_type.encode() + b"\x00\x03\x00" + content


def bad_pictures(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Pictures that can't be carried, by what they are: the media type that they are said to have, and their bytes."""
    png = picture(folder, "png").read_bytes()
    files = {kind: picture(folder, kind).read_bytes() for kind in ("webp", "bmp", "gif")}
    return {
        **{kind: (f"image/{kind}", content) for kind, content in files.items()},
        "garbage": ("image/jpeg", np.random.default_rng(1).bytes(20_000)),
        "half a png": ("image/png", png[: len(png) // 2]),
        "a png's first bytes": ("image/png", png[:10]),
        "a gif said to be a png": ("image/png", files["gif"]),
        "nothing": ("image/png", b""),
        "a png of 4 gigapixels": ("image/png", png[:16] + struct.pack(">2I", 65535, 65535) + png[24:]),
        "an address": ("-->", b"http://127.0.0.1:9/cover.png"),
        "no kind": ("", png),
    }


@pytest.mark.parametrize("first", [0, *thoroughly(1)], ids=["some", "rest"])
@pytest.mark.parametrize("suffix", ["mp3", *thoroughly("flac")])
def test_a_bad_picture_never_costs_the_sound(server: Server, tmp_path: Path, suffix: str, first: int) -> None:
    """Whatever is where a cover should be, all of the sound and its tags come back, sent in either order."""
    song = make(tmp_path / f"song.{suffix}", BARE.get(suffix, "-bitexact"))
    bad = bad_pictures(tmp_path)
    for name, (media_type, content) in bad.items():
        (tmp_path / f"{name}.{suffix}").write_bytes(with_picture(song.read_bytes(), media_type, content))
    with ThreadPoolExecutor(SENDERS) as pool:
        files = [tmp_path / f"{name}.{suffix}" for name in bad]
        made = pool.map(partial(convert_in_an_order, server), files, range(first * len(bad), (first + 1) * len(bad)))
        for path in made:
            assert_whole(path, song)


def convert_in_an_order(server: Server, file: Path, index: int) -> Path:
    """Each index is another format, and sometimes the other order."""
    return convert(server, file, HOLD_PICTURES[index % 4], order=ORDERS[index // 3 % 2])


def with_picture(song: bytes, media_type: str, content: bytes) -> bytes:
    """An MP3 without a tag, or a FLAC, with this as its cover."""
    if not song.startswith(b"fLaC"):
        return id3_tag(("TIT2", b"\x00Words"), id3_picture(content, media_type)) + song
    block = picture_block(content, media_type)
    # Behind STREAMINFO, which is 4 + 4 + 34 bytes with the file's mark and its own header.
    return song[:42] + b"\x06" + len(block).to_bytes(3) + block + song[42:]


@pytest.mark.parametrize("kind", ["garbage", *thoroughly("webp")])
def test_a_bad_picture_in_an_mp4_never_costs_the_sound(server: Server, tmp_path: Path, kind: str) -> None:
    """The same for the cover of an M4A, which doesn't say of what kind it is."""
    png = picture(tmp_path, "png")
    song = with_cover(tmp_path / "song.m4a", png)
    content = bad_pictures(tmp_path)[kind][1].ljust(png.stat().st_size, b"\0")[: png.stat().st_size]
    bad = tmp_path / "bad.m4a"
    bad.write_bytes(song.read_bytes().replace(png.read_bytes(), content))
    assert content in bad.read_bytes()
    for order in ORDERS:
        for made in convert_to_all(server, bad, ("mp3", "m4a"), order=order).values():
            assert_whole(made, song)


@pytest.mark.parametrize("order", ORDERS)
def test_tags_and_cover_can_be_dropped(server: Server, tmp_path: Path, order: str) -> None:
    """metadata=drop leaves the sound alone: no tag and no picture comes back."""
    song = with_cover(tmp_path / "song.mp3", picture(tmp_path, "jpg"), **TAGS)
    for name, path in convert_to_all(server, song, (*HOLD_PICTURES, "ogg"), order=order, metadata="drop").items():
        assert (name, tags_of(path), kinds_of_tracks(path)) == (name, {}, ["audio"])


def riff(song: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A WAV with more chunks behind its last one."""
    more = b"".join(name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for name, body in chunks)
    return song[:4] + struct.pack("<I", len(song) + len(more) - 8) + song[8:] + more


def id3v1_tag(title: str, artist: str, album: str) -> bytes:
    """The 128 bytes that end an old MP3: words of 30 letters, track 3 and no genre."""
    words = b"".join(text.encode("latin-1").ljust(30, b"\0") for text in (title, artist, album))
    return b"TAG" + words + b"2024" + b"\0" * 29 + b"\x03\xff"


def info_chunk(**tags: str) -> tuple[bytes, bytes]:
    chunks = [
        name.encode() + struct.pack("<I", len(text.encode()) + 1) + text.encode() + b"\0" * (2 - len(text.encode()) % 2)
        for name, text in tags.items()
    ]
    return b"LIST", b"INFO" + b"".join(chunks)


WORDS = (("TIT2", b"\x00Late words"), ("TPE1", b"\x00Somebody"))
# Longer than what tells a container.
LONG_TAG = id3_tag(*WORDS, ("TXXX", b"\x00Notes\x00" + b"word " * 20_000))
UNUSUAL_TAGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "wav LIST": ("wav", lambda song: riff(song, info_chunk(INAM="Late words", IART="Somebody"))),
    "wav id3": (
        "wav",
        lambda song: riff(song, (b"id3 ", id3_tag(*WORDS))),
    ),
    "mp3 ID3v1": ("mp3", lambda song: song + id3v1_tag("Late words", "Somebody", "")),
    "aac ID3v1": ("aac", lambda song: song + id3v1_tag("Late words", "Somebody", "")),
    "ID3 before FLAC": ("flac", lambda song: LONG_TAG + song),
}


@pytest.mark.parametrize("place", [*list(UNUSUAL_TAGS)[::2], *thoroughly(*list(UNUSUAL_TAGS)[1::2])])
def test_tags_in_unusual_places_are_seen(server: Server, tmp_path: Path, place: str) -> None:
    """Tags behind the sound aren't seen while it arrives: that is noticed, and they come along all the same."""
    suffix, add = UNUSUAL_TAGS[place]
    song = make(tmp_path / f"song.{suffix}", BARE.get(suffix, "-bitexact"))
    late = tmp_path / f"late.{suffix}"
    late.write_bytes(add(song.read_bytes()))
    for made in convert_both_ways(server, late, ("mp3", "ogg")).values():
        assert (tags_of(made)["title"], tags_of(made)["artist"]) == ("Late words", "Somebody")
        assert_whole(made, song)


def test_tags_before_and_behind_are_one(server: Server, tmp_path: Path) -> None:
    """An MP3 with tags at both ends keeps the long ones at its start."""
    song = make(tmp_path / "song.mp3", tags={"title": "The long title of this song, longer than thirty letters"})
    song.write_bytes(song.read_bytes() + id3v1_tag("The long title of this song, l", "", ""))
    made = convert_both_ways(server, song, ["flac"])
    assert tags_of(made["flac"])["title"] == "The long title of this song, longer than thirty letters"


def test_a_wavpack_keeps_its_tags_at_its_end(server: Server, tmp_path: Path) -> None:
    """APEv2 tags, which end a WavPack file, travel both ways."""
    song = make(tmp_path / "song.wv", tags=TAGS)
    assert tags_of(convert_both_ways(server, song, ["flac"])["flac"]) == TAGS


@pytest.mark.thorough
def test_chapters_and_their_track_stay_behind(server: Server, tmp_path: Path) -> None:
    """Chapters don't come along: not as such, not as a track of text, and not as tags."""
    (tmp_path / "chapters.txt").write_text(CHAPTERS)
    inputs = ["-i", str(tmp_path / "chapters.txt")]
    for suffix in ("m4a", "mka", "mp3"):
        song = make(tmp_path / f"song.{suffix}", "-map_metadata 1 -map_chapters 1", inputs=inputs)
        assert len(describe(song)["chapters"]) == 2
        for name, path in convert_to_all(server, song, ("m4a", "mka", "ogg")).items():
            assert (name, describe(path)["chapters"], kinds_of_tracks(path)) == (name, [], ["audio"])
            assert (name, tags_of(path)) == (name, {"title": "A story"})


@pytest.mark.parametrize("suffix", thoroughly("mkv", "mp4", "avi"))
def test_a_film_gives_its_sound_only(server: Server, tmp_path: Path, suffix: str) -> None:
    """Of a film with a picture, subtitles and a poster nothing but the first track of sound gets into any format."""
    (tmp_path / "words.srt").write_text(SUBTITLES)
    poster = picture(tmp_path, "png")
    film = ["-f", "lavfi", "-i", "testsrc=size=320x240:rate=10:duration=2", "-i", str(tmp_path / "words.srt")]
    options = {
        "mkv": f"-map 1:v -map 0:a -map 2:s -c:v libx264 -attach {poster} -metadata:s:t mimetype=image/png",
        "mp4": "-map 1:v -map 0:a -map 2:s -map 3:v -c:v:0 libx264 -c:v:1 png -disposition:v:1 attached_pic"
        " -c:s mov_text",
        "avi": "-map 1:v -map 0:a -c:v mjpeg -c:a mp3",
    }
    song = make(tmp_path / f"film.{suffix}", options[suffix], inputs=[*film, "-i", str(poster)], tags={"title": "Film"})
    assert "video" in kinds_of_tracks(song)
    for name, path in convert_to_all(server, song, (*HOLD_PICTURES, "mka", "webm")).items():
        assert (name, kinds_of_tracks(path)) == (name, ["audio"])
        assert_whole(path, song)


@pytest.mark.parametrize(("suffix", "target"), [("mp3", "flac"), ("wav", "mp3")])
def test_megabytes_of_tags_get_a_clear_answer(server: Server, tmp_path: Path, suffix: str, target: str) -> None:
    """Megabytes of words are no fault of the server: the sound comes back, or it is said what is wrong."""
    song = make(tmp_path / f"song.{suffix}", BARE.get(suffix, "-bitexact"))
    words = "word " * 400_000
    bare = song.read_bytes()
    stuffed = tmp_path / f"stuffed.{suffix}"
    if suffix == "mp3":
        stuffed.write_bytes(id3_tag(("TXXX", b"\x00Notes\x00" + words.encode())) + bare)
    else:
        stuffed.write_bytes(riff(bare, info_chunk(ICMT=words)))
    replies = [send(server, stuffed, target, order=order) for order in ORDERS]
    statuses = [reply.status for reply in replies]
    assert statuses in ([200, 200], [413, 413], [422, 422])
    for place, reply in enumerate(reply for reply in replies if reply.status == 200):
        made = tmp_path / f"{place}{SUFFIXES[target]}"
        made.write_bytes(reply.body)
        assert_whole(made, song)
