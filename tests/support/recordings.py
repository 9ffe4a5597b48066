"""Recordings whose time stamps are what people's are: joined, with holes, late, drifting, jittering."""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from support.ogg import later
from support.sound import FFMPEG, tone

# Which no codec makes small: enough comes before a file's end to be begun with.
NOISE = "-af aeval=random(0)-0.5|random(1)-0.5:c=stereo"
PICTURE = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=4")


@dataclass(frozen=True)
class Recording:
    """`make` writes a file whose sound, as it should be heard, is so long."""

    suffix: str
    make: Callable[[Path, Path], None]
    seconds: float


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([*FFMPEG, *map(str, arguments)], check=True, timeout=60)


def joined(codec: str, *, muxer: str = "", offset: float = 0.0) -> Callable[[Path, Path], None]:
    """4 s and 6 s, one file behind the other. The second begins at `offset` by its stamps."""

    def make(path: Path, work: Path) -> None:
        parts = []
        for seconds, start in ((4.0, 0.0), (6.0, offset)):
            part = work / f"{seconds:g}{path.suffix}"
            shape = f"-f {muxer}" if muxer else ""
            tone(part, seconds=seconds, options=f"{NOISE} {codec} -output_ts_offset {start} {shape}")
            parts.append(part.read_bytes())
        path.write_bytes(b"".join(parts))

    return make


def stamped(codec: str, bitstream: str) -> Callable[[Path, Path], None]:
    """4 s whose packets are told another time, or are dropped, by a bitstream filter of ffmpeg's."""

    def make(path: Path, work: Path) -> None:
        whole = tone(work / f"whole{path.suffix}", seconds=4.0, options=f"{NOISE} {codec}")
        _ffmpeg("-i", whole, "-c", "copy", "-bsf:a", bitstream, path)

    return make


def late(codec: str, seconds: float) -> Callable[[Path, Path], None]:
    """4 s of sound that begin so much later than the picture."""

    def make(path: Path, work: Path) -> None:
        sound = tone(work / "sound.wav", seconds=4.0, options=NOISE)
        options = [*codec.split(), "-map", "0:v", "-map", "1:a"]
        _ffmpeg(*PICTURE, "-itsoffset", str(seconds), "-i", sound, *options, path)

    return make


def plain(codec: str) -> Callable[[Path, Path], None]:
    return lambda path, _work: (tone(path, seconds=4.0, options=f"{NOISE} {codec}"), None)[1]


def joined_late(path: Path, work: Path) -> None:
    """An Ogg stream that somebody listened into after an hour (RFC 7845 section 4.5)."""
    whole = tone(work / "whole.opus", seconds=4.0, options=f"{NOISE} -c:a libopus -b:a 510k -vbr off")
    path.write_bytes(later(whole.read_bytes(), positions=48000 * 3600))


H264 = "-c:v libx264 -preset ultrafast"
# Pictures that don't get small: what comes of the file first has no sound in it.
SNOW = "-vf geq=random(1)*255:128:128 -c:v mpeg4 -q:v 1"
RECORDINGS: Mapping[str, Recording] = {
    "joined transport streams": Recording("ts", joined("-c:a mp2"), 10.03),
    "joined transport streams that overlap": Recording("ts", joined("-c:a mp2", offset=3.0), 10.03),
    "joined an hour and a quarter apart": Recording("ts", joined("-c:a mp2", offset=4500.0), 10.03),
    "joined with a short pause": Recording("ts", joined("-c:a mp2", offset=9.0), 15.03),
    "joined programme streams": Recording("mpg", joined("-c:a mp2", muxer="vob"), 10.03),
    "joined pieces of a browser's recorder": Recording("webm", joined("-c:a libopus -b:a 510k -vbr off"), 10.0),
    "chained Ogg": Recording("ogg", joined("-c:a libvorbis -q:a 8"), 10.0),
    "a hole in WebM": Recording(
        "webm", stamped("-c:a libopus -b:a 510k -vbr off", r"setts=ts=TS+3000*gt(TS\,1990)"), 7.0
    ),
    "a hole in MP4": Recording("m4a", stamped("-c:a aac", r"setts=ts=TS+132300*gt(TS\,88000)"), 7.02),
    "silence that wasn't sent": Recording(
        "webm", stamped("-c:a libopus -b:a 510k -vbr off", r"noise=drop=gt(n\,50)*lt(n\,120)"), 4.0
    ),
    "a radio joined late": Recording("opus", joined_late, 4.0),
    "late in MP4": Recording("mp4", late(f"{H264} -c:a aac", 2.0), 6.02),
    "late in Matroska": Recording("mkv", late(f"{H264} -c:a flac", 2.0), 6.0),
    "late behind much picture, sent live": Recording("mkv", late(f"{SNOW} -c:a flac -live 1", 2.0), 6.0),
    "late in a transport stream": Recording("ts", late("-c:v mpeg2video -c:a mp2", 2.0), 6.02),
    "Windows Media": Recording("wma", plain("-c:a wmav2"), 3.994),
    "a clock that is slow": Recording("mka", stamped("-c:a flac", r"setts=ts=TS*0.998"), 4.0),
    "a clock that is fast": Recording("mka", stamped("-c:a flac", r"setts=ts=TS*1.002"), 4.0),
    "jitter": Recording("mka", stamped("-c:a flac", r"setts=ts=TS+if(mod(N\,2)\,40\,0)"), 4.0),
}


def make_recording(folder: Path, name: str) -> Path:
    """Write the recording into the folder."""
    recording = RECORDINGS[name]
    work = folder / "work" / name.replace(" ", "_")
    work.mkdir(parents=True)
    path = folder / f"{name.replace(' ', '_')}.{recording.suffix}"
    recording.make(path, work)
    return path
