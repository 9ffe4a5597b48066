"""What a machine has to work with, and what of it is to be used."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import structlog

log = structlog.get_logger()

# The driver may have to wake sleeping GPUs, a second or two each.
_LOOK_SECONDS = 20.0

# "GPU 0: NAME (UUID: GPU-...)", and below one that is divided "  MIG 1g.10gb  Device  0: (UUID: MIG-...)".
_LISTED = re.compile(r"^\s*(GPU|MIG) .*\(UUID: ([\w/-]+)\)\s*$")


@dataclass(frozen=True, slots=True)
class Device:
    """One place for tasks. `visible` is its entry for CUDA_VISIBLE_DEVICES, "" for a processor."""

    name: str
    visible: str = ""
    threads: int = 1

    @property
    def is_gpu(self) -> bool:
        return bool(self.visible)

    @property
    def in_flight(self) -> int:
        """How many tasks it is given: a GPU finds its next one ready, so that it doesn't stand still between two."""
        return 2 if self.is_gpu else 1


def cpu_devices(cores: int) -> list[Device]:
    """One worker with one thread for each core.

    Threads of one worker would spin while they wait for each other: beside a busy process that costs many times what
    it saves. Encoders and the server share the cores with them, and the workers are the ones that yield (`child`).
    """
    return [Device(f"cpu:{number}") for number in range(max(1, cores))]


def gpu_devices(found: Sequence[str], inherited: str | None) -> list[Device]:
    """The GPUs that this process may use: of those found on the machine, what CUDA_VISIBLE_DEVICES leaves.

    `found` are their ids in the driver's order. The variable has numbers or ids (or their beginnings); as CUDA does, an
    entry that names none ends the list. Without it the ids stand: CUDA's own numbers follow another order.
    """
    if inherited is None:
        visible = list(found)
    else:
        visible = []
        for entry in (part.strip() for part in inherited.split(",")):
            if not _names_one(entry, found):
                break
            visible.append(entry)
    return [Device(f"cuda:{number}", visible=entry) for number, entry in enumerate(visible)]


def _names_one(entry: str, found: Sequence[str]) -> bool:
    if entry.isascii() and entry.isdecimal():
        return int(entry) < len(found)
    return bool(entry) and sum(name.startswith(entry) for name in found) == 1


def chosen_devices(
    wanted: Literal["auto"] | Sequence[str], found: Sequence[str], inherited: str | None, cores: int
) -> list[Device]:
    """The devices to use: those that are listed, in that order, or with "auto" the GPUs, without any the processors.

    "cuda:0" is the first GPU that this process may use, "cpu" a worker for each core. ValueError says what is wrong
    with a list, in words for whoever wrote it. `found` and `inherited` are as in `gpu_devices`.
    """
    gpus = gpu_devices(found, inherited)
    if wanted == "auto":
        return gpus or cpu_devices(cores)
    if not wanted:
        raise ValueError('no device is listed: name some, or say "auto"')
    there = {gpu.name: [gpu] for gpu in gpus} | {"cpu": cpu_devices(cores)}
    chosen: list[Device] = []
    for number, name in enumerate(wanted):
        if name in wanted[:number]:
            raise ValueError(f'device "{name}" is listed twice')
        if name not in there:
            raise ValueError(f'there is no device "{name}" here, only {", ".join(there)}')
        chosen += there[name]
    return chosen


def find_gpus(look_seconds: float = _LOOK_SECONDS) -> list[str]:
    """The ids of the machine's GPUs in the driver's order, by nvidia-smi; none where it isn't there or fails.

    A GPU that is divided counts as its parts, since it can't be used as a whole. Blocks for so many seconds at most and
    one more: a driver that hangs doesn't keep the server from starting.
    """
    program = shutil.which("nvidia-smi")
    return [] if program is None else _listed(_said([program, "-L"], look_seconds))


def _said(argv: Sequence[str], seconds: float) -> str:
    child = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        said, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        log.warning("gpus_not_found", reason=f"{argv[0]} took more than {seconds} s")
        child.kill()
        with suppress(subprocess.TimeoutExpired):  # a call into the driver that hangs can't be killed
            child.communicate(timeout=1)
        return ""
    if child.returncode != 0:
        log.warning("gpus_not_found", reason=f"{argv[0]} ended with {child.returncode}")
        return ""
    return said


def _listed(said: str) -> list[str]:
    gpus: list[str] = []
    whole = False  # the last one is a GPU that has no parts so far
    for kind, name in (match.groups() for match in map(_LISTED.match, said.splitlines()) if match):
        if kind == "MIG" and whole:
            gpus.pop()
        gpus.append(name)
        whole = kind == "GPU"
    return gpus
