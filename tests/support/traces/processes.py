"""Processes as the system shows them: what they run, whether they still do, and whose they are."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from support.deadline import until
from support.server import Server, descendants

# Within so much a process that was killed or told to end is gone.
GONE_SECONDS = 5.0


def command_of(pid: int) -> str:
    """The command line, its words with spaces between them; nothing for one that has ended."""
    with suppress(OSError):  # it ended meanwhile
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def program_of(command: str) -> str:
    """The name of the program that a command line runs."""
    return command.partition(" ")[0].rpartition("/")[2]


def state_of(pid: int) -> str:
    """The letter by which the system calls its state (proc(5)); nothing for one that is gone."""
    with suppress(OSError):  # it is gone
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    return ""


def alive(pids: Iterable[int]) -> list[int]:
    """Those of them that still run; one that only waits to be reaped doesn't."""
    return [pid for pid in pids if state_of(pid) not in ("Z", "X", "")]


def assert_ended(pids: Iterable[int]) -> None:
    """Soon none of them runs any more."""
    asked = list(pids)
    until(lambda: not alive(asked), seconds=GONE_SECONDS, what=lambda: alive(asked))


def resident_kib(pid: int, field: str = "VmRSS") -> int:
    """How much memory it has now, or by another field of its status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def processes_of(data_dir: Path) -> dict[int, str]:
    """Every process that works in this data directory or was told of it, by its command line. Zombies aside."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):  # it ended meanwhile
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(data_dir) in command or str((entry / "cwd").readlink()).startswith(str(data_dir)):
                found[int(entry.name)] = command
    return found


def ffmpegs(data_dir: Path, mark: str = "") -> list[int]:
    """The ffmpeg processes of a data directory whose command line has the mark, without the sandboxes around them."""
    return [
        pid for pid, command in processes_of(data_dir).items() if program_of(command) == "ffmpeg" and mark in command
    ]


def segmenters(data_dir: Path) -> list[int]:
    """Those that make segments of a stream."""
    return ffmpegs(data_dir, "hls_segment_filename")


def converters(data_dir: Path, conversion_id: str = "") -> list[int]:
    """Those that make the file of a conversion."""
    return ffmpegs(data_dir, f"{data_dir}/scratch/convert.{conversion_id}")


def workers(server: Server) -> list[int]:
    """The processes that stand for devices."""
    return [pid for pid in server.children() if "spawn_main" in command_of(pid)]


def assert_no_process(data_dir: Path) -> None:
    """No process of a dead server lives on, but for sandboxes that hadn't begun: those the next server ends."""

    def living() -> dict[int, str]:
        return {pid: command for pid, command in processes_of(data_dir).items() if not _never_began(pid)}

    until(lambda: not living(), seconds=GONE_SECONDS, what=living)


def _never_began(pid: int) -> bool:
    """bubblewrap doesn't follow its parent before that has told it to begin; then it waits for ever."""
    with suppress(OSError):  # it ended meanwhile
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return (status["Name"], status["PPid"]) == ("bwrap", "1") and not descendants(pid)
    return False
