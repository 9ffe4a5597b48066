"""Run a program under bubblewrap: no network, no other processes, and of the disk only what it is given. Pure.

Many containers forbid the user namespaces that it needs, so it is optional; `media.ffmpeg.find_tools` tries it.
"""

from collections.abc import Sequence
from pathlib import Path

# What a dynamically linked program of the system needs; those that are missing on a distribution are skipped.
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/opt", "/etc/ld.so.cache", "/etc/alternatives", "/nix", "/gnu")
# Without --new-session: whoever runs this has begun a session, and a kill of that must reach all that is in it.
_ISOLATED = ("--unshare-all", "--die-with-parent", "--clearenv", "--dev", "/dev")


def confine(
    argv: Sequence[str], *, readable: Sequence[Path], writable: Sequence[Path], home: Path | None = None
) -> list[str]:
    """Prefix `argv` so that it sees the system's programs, `readable` and `writable`, and dies with its parent.

    `home` is whose it is: bubblewrap doesn't follow its parent in its first instant, and must be known by somebody.
    """
    words = ["bwrap", *_ISOLATED]
    if home is not None:
        words += ["--setenv", "STREAMSRV_HOME", f"{home}/"]
    for system in _SYSTEM:
        words += ["--ro-bind-try", system, system]
    for path in readable:
        words += ["--ro-bind", str(path), str(path)]
    for path in writable:
        words += ["--bind", str(path), str(path)]
    if writable:
        words += ["--chdir", str(writable[0])]
    return [*words, "--", *argv]
