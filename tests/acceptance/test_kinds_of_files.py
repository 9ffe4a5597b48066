"""What cameras, telephones, television and old programs write: what can be made here comes through every job."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.odd_files import module
from support.server import Server
from support.sound import FFMPEG
from support.spread import thoroughly
from support.ways import pause, ways

SECONDS = 4.0
# A codec has frames, a container its own ticks, and some encoders a delay that nobody takes away.
TOLERANCE_SECONDS = 0.12
PICTURE = "-f lavfi -i testsrc=size={}:rate=25:duration=4"
SMALL = PICTURE.format("64x48")

# What ffmpeg is told behind its input of sound, by the name of the file.
KINDS: Mapping[str, str] = {
    "camera.mxf": f"{PICTURE.format('320x240')} -map 1:v -map 0:a -ar 48000 -c:v mpeg2video -c:a pcm_s16le",
    "camcorder.dv": f"{PICTURE.format('720x576')} -map 1:v -map 0:a -ar 48000 -target pal-dv",
    "nellymoser.flv": "-ar 22050 -ac 1 -c:a nellymoser",
    "swf.flv": "-ar 22050 -ac 1 -c:a adpcm_swf",
    "s302m.ts": "-ar 48000 -c:a s302m -strict -2",
    "television.wtv": f"{SMALL} -map 1:v -map 0:a -c:v mpeg2video -c:a mp2",
    "creative.voc": "-c:a pcm_u8",
    "real.rm": "-ar 8000 -ac 1 -c:a real_144",
    "telephone.gsm": "-ar 8000 -ac 1 -c:a libgsm",
    "yamaha.wav": "-c:a adpcm_yamaha",
    "nut.nut": "-c:a libvorbis",
    "meridian.mlp": "-ar 48000 -c:a mlp -strict -2",
    "dolby.thd": "-ar 48000 -c:a truehd -strict -2",
    "speech.g723_1.mkv": "-ar 8000 -ac 1 -c:a g723_1 -b:a 6300",
    "wide.g722.wav": "-ar 16000 -ac 1 -c:a g722",
    "sox.sox": "-c:a pcm_s32le",
    "ircam.sf": "-f ircam -c:a pcm_s16le",
    "dat.ac3": "-c:a ac3",
    "dts.dts": "-c:a dca -strict -2",
    "xwma.xwma": "-c:a wmav2 -f asf",
    "program.vob": f"{SMALL} -map 1:v -map 0:a -c:v mpeg2video -c:a mp2 -f vob",
    "latm.loas": "-c:a aac -f latm",
    # Nothing in them tells what they are, but for their names.
    "call.g722": "-ar 16000 -ac 1 -c:a g722",
    "call.tco": "-ar 8000 -ac 1 -c:a g723_1 -b:a 6300",
    "call.al": "-ar 8000 -ac 1 -c:a pcm_alaw -f alaw",
    "call.ulaw": "-ar 8000 -ac 1 -c:a pcm_mulaw -f mulaw",
    "prompt.sln16": "-ar 16000 -ac 1 -c:a pcm_s16le -f s16le",
    "headset.sbc": "-c:a sbc",
    "headset.msbc": "-ar 16000 -ac 1 -c:a sbc -msbc 1",
    "game.dfpwm": "-ar 48000 -ac 1 -c:a dfpwm",
}
TRIED = ("camera.mxf", "s302m.ts", "real.rm", "yamaha.wav", "call.g722")


@pytest.mark.parametrize("name", [*TRIED, *thoroughly(*(name for name in KINDS if name not in TRIED))])
def test_each_kind_comes_through_every_job(name: str, media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """All of its sound comes back, whole and as it arrives."""
    file = media_root / name
    source = ["-f", "lavfi", "-i", f"sine=440:duration={SECONDS}:sample_rate=44100"]
    options = KINDS[name].split()
    inputs = options[: options.index("-map")] if "-map" in options else []
    argv = [*FFMPEG, *source, *inputs, "-ac", "2", *options[len(inputs) :], str(file)]
    made = subprocess.run(argv, check=False, timeout=60, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    lengths = {}
    for way, job in ways(pause).items():
        answer = job(media_server, file, tmp_path)
        assert not isinstance(answer, tuple), (way, answer)
        lengths[way] = len(answer)
    assert len(set(lengths.values())) == 1, lengths
    rates = (8000, 16000, 22050, 44100, 48000)
    samples = lengths["extracted"]
    assert any(abs(samples / rate - SECONDS) < TOLERANCE_SECONDS for rate in rates), samples


def test_bare_samples_are_refused_in_words(media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """What has no header and no kind of its own is refused by every job, and words say what to do."""
    file = media_root / "samples.pcm"
    subprocess.run([*FFMPEG, "-f", "lavfi", "-i", "anoisesrc=d=2", "-f", "s16le", str(file)], check=True, timeout=60)
    for way, job in ways(pause).items():
        answer = job(media_server, file, tmp_path)
        assert isinstance(answer, tuple), way
        assert "no header with its sample rate" in answer[1], (way, answer)


def test_a_name_doesnt_overrule_what_is_in_a_file(media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """A WAV that is called otherwise is a WAV."""
    file = media_root / "song.al"
    source = ["-f", "lavfi", "-i", "sine=440:duration=2:sample_rate=44100"]
    subprocess.run([*FFMPEG, *source, "-f", "wav", str(file)], check=True, timeout=60)
    for way, job in ways(pause).items():
        answer = job(media_server, file, tmp_path)
        assert not isinstance(answer, tuple), (way, answer)
        assert len(answer) == 2 * 44100, way


def test_a_module_comes_through_every_job(media_server: Server, media_root: Path, tmp_path: Path) -> None:
    """A tune of a tracker is played once, where decoders are walled in."""
    file = media_root / "tune.mod"
    file.write_bytes(module())
    for way, job in ways(pause).items():
        answer = job(media_server, file, tmp_path)
        assert not isinstance(answer, tuple), (way, answer)
        assert len(answer) / 48000 == pytest.approx(7.7, abs=0.2), way
