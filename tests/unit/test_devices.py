"""Which devices there are, and which of them are used."""

import os
import time
from pathlib import Path

import pytest

from streamsrv.workers.devices import Device, chosen_devices, cpu_devices, find_gpus, gpu_devices

GPU_A, GPU_B, MIG = (
    "GPU-0a3f1c52-7d1e-4e0b-9a51-5b7f0c1d2e3f",
    "GPU-0b4f1c52-7d1e-4e0b-9a51-5b7f0c1d2e3f",
    "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f",
)
LISTED = f"""\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: {GPU_A})
GPU 1: NVIDIA A100-SXM4-40GB (UUID: {GPU_B})
  MIG 1g.5gb      Device  0: (UUID: {MIG})
  MIG 1g.5gb      Device  1: (UUID: MIG-{GPU_B}/7/0)
"""


@pytest.fixture
def nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a shell script can be the driver's program, which no machine without such a GPU has."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "nvidia-smi"


def write_program(file: Path, lines: str) -> None:
    file.write_text(f"#!/bin/sh\n{lines}\n")
    file.chmod(0o755)


def test_gpus_are_those_that_the_variable_leaves() -> None:
    """CUDA_VISIBLE_DEVICES has numbers or ids, and ends at an entry that names none; without it all are there."""
    found = ["GPU-aaa", "GPU-abb", "MIG-c"]
    names = {None: found, "": [], "1": ["1"], "2,0": ["2", "0"], "0,9,1": ["0"], "-1": [], "MIG": ["MIG"]}
    for variable, visible in names.items():
        assert [device.visible for device in gpu_devices(found, variable)] == visible
    assert gpu_devices(found, "GPU-a") == []  # names two
    assert gpu_devices(["GPU-x"], None) == [Device("cuda:0", visible="GPU-x")]


def test_a_gpu_takes_two_tasks() -> None:
    """One that runs and one that is ready; a processor has just the one."""
    assert Device("cuda:0", visible="0").in_flight == 2
    assert Device("cpu:0").in_flight == 1


def test_gpus_are_used_where_there_are_some() -> None:
    """By itself the server uses all GPUs and no processor, or else every processor."""
    assert chosen_devices("auto", [GPU_A, GPU_B], None, 2) == gpu_devices([GPU_A, GPU_B], None)
    assert chosen_devices("auto", [GPU_A, GPU_B], "1", 2) == [Device("cuda:0", visible="1")]
    assert chosen_devices("auto", [GPU_A], "", 2) == cpu_devices(2)
    assert chosen_devices("auto", [], None, 2) == cpu_devices(2)


def test_a_list_says_which_devices() -> None:
    """The devices that are named, in that order: one GPU each, or a worker for each core."""
    names = {("cuda:1",): ["cuda:1"], ("cpu",): ["cpu:0", "cpu:1"], ("cuda:1", "cpu"): ["cuda:1", "cpu:0", "cpu:1"]}
    for wanted, chosen in names.items():
        assert [device.name for device in chosen_devices(wanted, [GPU_A, GPU_B], None, 2)] == chosen


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (["cuda:2"], 'there is no device "cuda:2" here, only cuda:0, cuda:1, cpu'),
        (["cpu:1"], 'there is no device "cpu:1" here'),
        (["cuda"], 'there is no device "cuda" here'),
        (["cpu", "cpu"], 'device "cpu" is listed twice'),
        ([], "no device is listed"),
    ],
)
def test_a_wrong_list_is_told_in_words(wanted: list[str], words: str) -> None:
    """A device that isn't there, or is there once only, isn't quietly left out."""
    with pytest.raises(ValueError, match=words):
        chosen_devices(wanted, [GPU_A, GPU_B], None, 2)


def test_gpus_are_found_by_their_ids(nvidia: Path) -> None:
    """The ids are those that the driver lists; a GPU that is divided counts as its parts."""
    write_program(nvidia, f"[ \"$1\" = -L ] && cat <<'END'\n{LISTED}END")
    assert find_gpus() == [GPU_A, MIG, f"MIG-{GPU_B}/7/0"]


@pytest.mark.parametrize("lines", ["echo 'No devices found.'", f"echo 'GPU 0: X (UUID: {GPU_A})'; exit 9"])
def test_a_driver_that_fails_has_no_gpus(nvidia: Path, lines: str) -> None:
    """What a failing program says is worth nothing."""
    write_program(nvidia, lines)
    assert find_gpus() == []


def test_a_driver_that_hangs_has_no_gpus(nvidia: Path) -> None:
    """The search ends after its time, and its program with it."""
    write_program(nvidia, f"echo $$ > {nvidia}.pid\necho 'GPU 0: X (UUID: {GPU_A})'\nexec sleep 60")
    began = time.monotonic()
    assert find_gpus(look_seconds=2.0) == []
    assert time.monotonic() - began < 30
    assert not Path(f"/proc/{Path(f'{nvidia}.pid').read_text().strip()}").exists()


def test_a_machine_without_the_driver_has_no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program, no GPU, no error."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus() == []
