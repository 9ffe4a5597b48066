"""What ffmpeg opens while it reads a file of strangers, traced call by call: the file, and nothing else of theirs."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.spread import thoroughly

from streamsrv.media.ffprobe import probe_arguments
from streamsrv.media.inputs import DEMUXERS, FOREIGN_DEMUXERS, RAW_DEMUXERS
from streamsrv.media.raw import RawKind
from streamsrv.media.tools import FfmpegTools

OPENED = re.compile(r'open(?:at)?\([^"]*"([^"]+)"')
# Names that scripts and playlists of all sorts would have ffmpeg open.
BAIT = """#EXTM3U
#EXTINF:1,
bait.ts
ffconcat version 1.0
file 'bait.ts'
VobSub index file, v7
# VobSub index file
id: en, index: 0
v=0
m=audio 9 RTP/AVP 0
c=IN IP4 127.0.0.1
<MPD><BaseURL>bait.ts</BaseURL></MPD>
<AssetMap><Path>bait.ts</Path></AssetMap>
MLVI bait.M00
"""
TRIED = ("wav", "mov", "matroska", "ogg", "rm", "mxf")


BY_NAME = (*RAW_DEMUXERS, *FOREIGN_DEMUXERS)
REST = [name for name in (*DEMUXERS, *BY_NAME) if name not in TRIED]


@pytest.mark.parametrize("name", [*TRIED, *thoroughly(*REST)])
def test_a_demuxer_opens_its_input_only(name: str, tools: FfmpegTools, tmp_path: Path) -> None:
    """Neither a file beside it, whatever the input names, nor a connection."""
    (tmp_path / "bait.ts").write_bytes(b"\x47" * 188 * 20)
    (tmp_path / "input.sub").write_bytes(bytes(4096))
    source, trace = tmp_path / "input.idx", tmp_path / "trace"
    source.write_bytes(BAIT.encode() + bytes(range(256)) * 300)
    hint = {"raw": RawKind(name)} if name in BY_NAME else {"demuxer": name}
    argv = probe_arguments(tools.ffprobe, source, decoders=tools.decoders, **hint)
    traced = ["strace", "-f", "-qq", "-e", "trace=open,openat,socket,connect", "-o", str(trace)]
    subprocess.run([*traced, *argv], check=False, timeout=60, capture_output=True)
    calls = trace.read_text()
    assert {path for path in OPENED.findall(calls) if str(tmp_path) in path or "bait" in path} == {str(source)}
    assert "AF_INET" not in calls


def test_there_is_a_verdict_on_all_that_this_ffmpeg_reads(tools: FfmpegTools) -> None:
    """Until somebody decides, what a newer ffmpeg reads besides is refused, and said at the start and by `doctor`."""
    assert tools.without_verdict == ()
    newer = replace(tools, without_verdict=("holograms",))
    assert any("holograms" in line for line in newer.shortcomings())
