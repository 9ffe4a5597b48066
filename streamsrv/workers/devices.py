"""What a machine has to work with. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """One place for one task. `visible` is its entry for CUDA_VISIBLE_DEVICES, "" for a processor."""

    name: str
    visible: str = ""
    threads: int = 1

    @property
    def is_gpu(self) -> bool:
        return bool(self.visible)


def cpu_devices(cores: int) -> list[Device]:
    """One worker with one thread for each core.

    Threads of one worker would spin while they wait for each other: beside a busy process that costs many times what
    it saves. Encoders and the server share the cores with them, and the workers are the ones that yield (`child`).
    """
    return [Device(f"cpu:{number}") for number in range(max(1, cores))]


def gpu_devices(found: Sequence[str], inherited: str | None) -> list[Device]:
    """The GPUs that this process may use: of those found on the machine, what CUDA_VISIBLE_DEVICES leaves.

    `found` are their ids in the driver's order. The variable has numbers or ids (or their beginnings); as CUDA does, an
    entry that names none ends the list.
    """
    if inherited is None:
        visible = [str(number) for number in range(len(found))]
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
