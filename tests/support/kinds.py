"""What cameras, telephones, television and old programs write: one file of each kind that can be made here."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.sound import FFMPEG

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
    # What else ffmpeg's own encoders and muxers make.
    "adx.adx": "-c:a adpcm_adx",
    "alp.tun": "-ar 22050 -ac 1 -f alp -c:a adpcm_ima_alp",
    "amv.amv": f"{SMALL} -map 1:v -map 0:a -c:v amv -ar 22050 -ac 1 -c:a adpcm_ima_amv -block_size 882",
    "apm.apm": "-f apm -c:a adpcm_ima_apm",
    "ast.ast": "-c:a pcm_s16be_planar -f ast",
    "asf.asf": "-c:a wmav1",
    "au.au": "-c:a pcm_s16be",
    "avi.avi": f"{SMALL} -map 1:v -map 0:a -c:v mpeg4 -c:a libmp3lame",
    "caf.caf": "-c:a alac",
    "aiff.aiff": "-c:a pcm_s24be",
    "aifc.aifc": "-c:a pcm_f32be -f aiff",
    "eac3.eac3": "-c:a eac3",
    "f4v.f4v": "-c:a aac",
    "gxf.gxf": f"{PICTURE.format('720x576')} -map 1:v -map 0:a -c:v mpeg2video -ar 48000 -ac 1 -c:a pcm_s16le",
    "mmf.mmf": "-ar 8000 -ac 1 -c:a adpcm_yamaha",
    "mov.mov": "-c:a adpcm_ima_qt",
    "mp2.mp2": "-c:a mp2",
    "spx.spx": "-ar 16000 -c:a libspeex",
    "swf.swf": "-c:a libmp3lame",
    "tta.tta": "-c:a tta",
    "wave64.w64": "-c:a pcm_s24le",
    "wv.wv": "-c:a wavpack",
    "ms.wav": "-c:a adpcm_ms",
    "ima.wav": "-c:a adpcm_ima_wav",
    "gsm.wav": "-ar 8000 -ac 1 -c:a libgsm_ms",
    "double.wav": "-c:a pcm_f64le",
    "ulaw.mov": "-c:a pcm_mulaw",
    "webm.webm": "-c:a libopus",
    "f32.mkv": "-c:a pcm_f32le",
    "spdif.spdif": "-ar 48000 -c:a ac3 -f spdif",
    "argo.asf": "-ar 22050 -f argo_asf -c:a adpcm_argo",
    "rso.avi": "-c:a pcm_u8",
    "g726.wav": "-ar 8000 -ac 1 -c:a g726 -b:a 32k",
    "roq.roq": f"{SMALL.replace('64x48', '64x64')} -map 1:v -map 0:a -r 30 -c:v roqvideo -ar 22050 -c:a roq_dpcm",
    "westwood.aud": "-ar 22050 -f wsaud -c:a adpcm_ima_ws",
}


def make_kind(folder: Path, name: str) -> Path:
    """Write `SECONDS` of 440 Hz as the kind of that name, which the file has."""
    file = folder / name
    source = ["-f", "lavfi", "-i", f"sine=440:duration={SECONDS}:sample_rate=44100"]
    options = KINDS[name].split()
    inputs = options[: options.index("-map")] if "-map" in options else []
    argv = [*FFMPEG, *source, *inputs, "-ac", "2", *options[len(inputs) :], str(file)]
    made = subprocess.run(argv, check=False, timeout=60, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return file
