"""ffmpeg as a supervised child: fed, drained, confined, and never left behind."""

import asyncio
import gc
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.deadline import eventually, until
from support.server import descendants
from support.sound import tone
from support.traces.processes import command_of, program_of

from streamsrv.errors import EncoderKilled, InternalError, UnusableFile
from streamsrv.media.arguments import Encoding, Input, hls_arguments
from streamsrv.media.child import ChildLimits, end_strays, run_through
from streamsrv.media.ffmpeg import Ffmpeg, Outcome
from streamsrv.media.formats import CODECS
from streamsrv.media.playlist import finished_segment
from streamsrv.media.probe import probe
from streamsrv.media.tools import FfmpegTools, find_tools

ENCODING = Encoding(codec=CODECS["aac"], sample_rate=44100, channels=2, bitrate_bps=128000)


@pytest.fixture(params=["auto", "off"])
async def tools(request: pytest.FixtureRequest) -> FfmpegTools:
    """With a sandbox where this host allows one, and without."""
    return await find_tools("ffmpeg", "ffprobe", request.param)


def arguments(tools: FfmpegTools, source: Input, folder: Path) -> list[str]:
    return hls_arguments(tools.ffmpeg, source, ENCODING, folder=folder, segment_seconds=1, max_seconds=3600)


async def finish(child: Ffmpeg) -> tuple[list[int], Outcome]:
    numbers: list[int] = []
    while (lines := await child.read_lines(0.2)) is not None:
        numbers += [number for line in lines if (number := finished_segment(line)) is not None]
    return numbers, await child.outcome()


async def pieces(path: Path, size: int = 4096) -> AsyncIterator[bytes]:
    data = path.read_bytes()
    for start in range(0, len(data), size):
        yield data[start : start + size]
        await asyncio.sleep(0)


def ffmpegs() -> list[int]:
    """The children of this process that have to do with ffmpeg."""
    return [pid for pid in descendants(os.getpid()) if "ffmpeg" in command_of(pid)]


async def nobody_left() -> None:
    await eventually(lambda: not ffmpegs(), seconds=2, what=ffmpegs)


async def test_a_file_and_a_pipe_give_the_same_segments(tools: FfmpegTools, tmp_path: Path) -> None:
    """Segments are told one by one as they are finished, and samples are counted on both sides."""
    sound = tone(tmp_path / "sound.wav", seconds=3.3)
    made = []
    for name, source, feed in (
        ("file", Input(path=sound), None),
        ("pipe", Input(demuxer="wav"), pieces(sound)),
    ):
        folder = tmp_path / name
        folder.mkdir()
        argv = arguments(tools, source, folder)
        async with Ffmpeg(tools, argv, folder=folder, readable=(sound,), feed=feed) as child:
            numbers, outcome = await finish(child)
        assert numbers == [1, 2, 3, 4]
        assert outcome.returncode == 0
        assert outcome.decoded_samples == outcome.encoded_samples == 145530
        assert child.out_seconds == pytest.approx(3.3, abs=0.1)
        made.append([path.read_bytes() for path in sorted(folder.glob("*.ts"))])
    assert made[0] == made[1]
    await nobody_left()


async def test_the_end_is_told_with_the_last_lines(tmp_path: Path) -> None:
    """A child that has ended is waited for no longer, whether its last lines were read before or after that."""
    tools = await find_tools("ffmpeg", "ffprobe", "off")
    sound = tone(tmp_path / "sound.wav", seconds=1.5)
    async with Ffmpeg(tools, arguments(tools, Input(path=sound), tmp_path), folder=tmp_path) as child:
        await eventually(child._output.done)
        async with asyncio.timeout(20):
            assert await child.read_lines(60)
            assert await child.read_lines(60) is None


async def test_a_feed_that_breaks_off_kills_the_child(tools: FfmpegTools, tmp_path: Path) -> None:
    """Closing the pipe would look like the end of the song: the child is killed and the error comes out."""

    async def feed() -> AsyncIterator[bytes]:
        yield tone(tmp_path / "sound.wav", seconds=3).read_bytes()[:200_000]
        raise RuntimeError("the client left")

    async with Ffmpeg(tools, arguments(tools, Input(demuxer="wav"), tmp_path), folder=tmp_path, feed=feed()) as child:
        with pytest.raises(RuntimeError, match="the client left"):
            await finish(child)
    await nobody_left()


async def test_leaving_the_block_ends_a_child_that_waits(tools: FfmpegTools, tmp_path: Path) -> None:
    """Whatever ends the block, nothing of the child is left, within a moment."""

    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def work() -> None:
        argv = arguments(tools, Input(demuxer="wav"), tmp_path)
        async with Ffmpeg(tools, argv, folder=tmp_path, feed=never()) as child:
            await finish(child)

    task = asyncio.create_task(work())
    await eventually(ffmpegs)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await nobody_left()


async def test_a_start_that_is_cancelled_leaves_nothing(tools: FfmpegTools, tmp_path: Path) -> None:
    """Cancelled at any point of its start, a child is gone with its pipes, which asyncio alone would leave open."""
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    for steps in range(12):
        task = asyncio.create_task(tools.run([tools.ffmpeg, "-version"]))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await nobody_left()
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_before


async def test_a_killed_child_is_told_from_a_bad_file(tools: FfmpegTools, tmp_path: Path) -> None:
    """A signal comes out as a negative number, whether there is a sandbox or not."""

    async def feed() -> AsyncIterator[bytes]:
        yield b"RIFF"
        for pid in descendants(os.getpid()):
            if "ffmpeg" in command_of(pid):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(5)
        yield b""

    async with Ffmpeg(tools, arguments(tools, Input(demuxer="wav"), tmp_path), folder=tmp_path, feed=feed()) as child:
        _, outcome = await finish(child)
    assert outcome.returncode == -signal.SIGKILL
    await nobody_left()


@pytest.mark.parametrize("sandbox", ["off", "auto"])
async def test_a_look_that_was_killed_says_nothing_of_the_file(sandbox: str) -> None:
    """An ffprobe that somebody killed is a fault of ours, confined or not, and no verdict on the file."""
    tools = await find_tools("ffmpeg", "ffprobe", sandbox)
    with pytest.raises(EncoderKilled):
        await tools.run(["/bin/sh", "-c", "kill -9 $$"])


async def test_a_child_that_complains_at_length_is_read_to_its_end() -> None:
    """More than a pipe holds on stderr, and then what it is read for; and again where whoever reads it fails."""
    say = ["sh", "-c", "head -c 1000000 /dev/zero >&2; echo sound; head -c 1000000 /dev/zero >&2; exit 3"]
    taken: list[bytes] = []
    async with asyncio.timeout(10):
        assert await run_through(say, ChildLimits(), taken.append) == 3
    assert b"".join(taken) == b"sound\n"

    def fail(piece: bytes) -> None:
        raise ValueError(piece)

    async with asyncio.timeout(10):
        with pytest.raises(ValueError, match="sound"):
            await run_through(say, ChildLimits(), fail)


async def test_limits_hold(tmp_path: Path) -> None:
    """A child that writes more than it may ends by SIGXFSZ, or says so; it isn't taken for a success."""
    tools = await find_tools("ffmpeg", "ffprobe", "off")
    sound = tone(tmp_path / "sound.wav", seconds=3)
    limits = ChildLimits(file_bytes=4096)
    argv = arguments(tools, Input(path=sound), tmp_path)
    async with Ffmpeg(tools, argv, folder=tmp_path, readable=(sound,), limits=limits) as child:
        _, outcome = await finish(child)
    assert outcome.returncode != 0


def test_a_child_dies_with_its_server(tmp_path: Path) -> None:
    """`kill -9` of the parent takes ffmpeg along, even one that waits for input that never comes."""
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from streamsrv.media.ffmpeg import Ffmpeg
        from streamsrv.media.tools import find_tools

        async def never():
            await asyncio.Event().wait()
            yield b""

        async def main():
            tools = await find_tools("ffmpeg", "ffprobe", "auto")
            folder = Path(sys.argv[1])
            argv = [tools.ffmpeg, "-nostdin", "-f", "wav", "-i", "pipe:0", "-f", "null", "-"]
            async with Ffmpeg(tools, argv, folder=folder, feed=never()):
                print("started", flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """)
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"started\n"
    # bubblewrap lets its child wait for the first instants, in which it doesn't follow its parent yet.
    until(lambda: "ffmpeg" in {program_of(command_of(pid)) for pid in descendants(parent.pid)})
    children = descendants(parent.pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not [pid for pid in children if "ffmpeg" in command_of(pid)], seconds=5)


def test_strays_of_a_killed_server_are_ended(tmp_path: Path) -> None:
    """What names the server's own folder and is one of its programs is ended at start-up; nothing else is."""
    ours, others = tmp_path / "scratch", tmp_path / "elsewhere"
    started = []
    for folder in (ours, others):
        folder.mkdir()
        argv = ["ffmpeg", "-loglevel", "quiet", "-f", "lavfi", "-re", "-i", "anullsrc", "-y", str(folder / "out.wav")]
        started.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL))
    reader = subprocess.Popen(["sleep", "30", f"{ours}/not-a-number"], stderr=subprocess.DEVNULL)
    try:
        until(lambda: end_strays(ours))  # a process is "python" until it has become ffmpeg
        assert started[0].wait(5) == -signal.SIGKILL
        assert started[1].poll() is None
    finally:
        for process in (*started, reader):
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    "script", ["#EXTM3U\n#EXTINF:3,\nsecret.ts\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile secret.ts\n"]
)
async def test_playlists_in_disguise_are_refused(tools: FfmpegTools, tmp_path: Path, script: str) -> None:
    """A "song.mp3" that names another file of this machine isn't followed by probe or decoder."""
    tone(tmp_path / "secret.ts", options="-c:a mp2")
    disguised = tmp_path / "song.mp3"
    disguised.write_text(script)
    with pytest.raises(UnusableFile):
        await probe(tools, disguised)
    folder = tmp_path / "out"
    folder.mkdir()
    open_tools = replace(tools, sandboxed=False)  # what the whitelists do on their own
    async with Ffmpeg(open_tools, arguments(tools, Input(path=disguised), folder), folder=folder) as child:
        numbers, outcome = await finish(child)
    assert outcome.returncode != 0
    assert numbers == []


async def test_a_sandboxed_child_sees_only_its_own_files(tmp_path: Path) -> None:
    """Where bubblewrap works, a child reads no file that it wasn't given."""
    tools = await find_tools("ffmpeg", "ffprobe", "auto")
    harmless = ["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"]
    works = shutil.which("bwrap") is not None and subprocess.run(harmless, check=False).returncode == 0
    assert tools.sandboxed == works
    sound = tone(tmp_path / "sound.wav")
    assert (await probe(tools, sound)).channels == 2
    hidden = await tools.run([tools.ffprobe, "-loglevel", "error", str(sound)])
    assert (hidden.returncode != 0) == works


async def test_missing_programs_are_named() -> None:
    """The error says what is missing and how to get it."""
    with pytest.raises(InternalError, match=r"no-such-ffmpeg can't be found.*install -y ffmpeg"):
        await find_tools("no-such-ffmpeg", "ffprobe", "auto")


async def test_cover_art_and_video_do_not_hide_the_sound(tools: FfmpegTools, tmp_path: Path) -> None:
    """Pictures are neither decoded nor in the way."""
    sound, art, film = tmp_path / "a.wav", tmp_path / "art.mp3", tmp_path / "film.webm"
    tone(sound, seconds=2)
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=2"]
    make = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-i", str(sound), *picture, "-map", "0:a", "-map", "1:v"]
    still = ["-frames:v", "1", "-c:v", "png", "-disposition:v", "attached_pic"]
    subprocess.run([*make, *still, str(art)], check=True)
    subprocess.run([*make, "-c:v", "libvpx", str(film)], check=True)
    assert (await probe(tools, art)).has_video is False
    assert (await probe(tools, film)).has_video is True
