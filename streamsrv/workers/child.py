"""What a new worker does before its first task: it ties its life to the server's and its hands to one device."""

import ctypes
import os
import signal

from streamsrv.workers.devices import Device

_PR_SET_PDEATHSIG = 1


def pin(device: Device, parent: int) -> None:
    """Die with `parent`, leave signals to it, and use this device only. Runs before anything large is imported."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the server died before the line above took effect
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the server, which ends its workers in order
    os.nice(5)  # workers yield to the server that feeds them
    os.environ["STREAMSRV_DEVICE"] = device.name
    os.environ["CUDA_VISIBLE_DEVICES"] = device.visible
    # Without it cuBLAS may sum in another order from run to run.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(device.threads)
    # Threads of OpenMP spin while they wait, unless they are told not to.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
