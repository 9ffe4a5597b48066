"""Run the server with a trap: where a named call of the product begins or ends, the process kills itself by SIGKILL.

The trap is in the variable STREAMSRV_TRAP: "before|after MODULE:NAME [WORD [COUNT]]". It springs at the COUNT-th call
(default: the first) whose arguments, as text, contain WORD. The product itself knows nothing of this.
With STREAMSRV_TRAP_HOLDS it only stops there, by SIGSTOP, at each such call from the COUNT-th on, until it is told to
go on.
"""

import functools
import importlib
import inspect
import itertools
import os
import signal
from collections.abc import Callable
from typing import Any

from streamsrv.cli import main

HOLDS = bool(os.environ.get("STREAMSRV_TRAP_HOLDS"))


def set_trap(moment: str, target: str, word: str = "", count: str = "1") -> None:
    """Put the trap in the place of the function or method that `target` names."""
    module, _, name = target.partition(":")
    owner = functools.reduce(getattr, name.split(".")[:-1], importlib.import_module(module))
    attribute = name.rpartition(".")[2]
    calls = itertools.count(1)

    def springs(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
        if word not in f"{arguments!r} {keywords!r}":
            return False
        number = next(calls)
        return number >= int(count) if HOLDS else number == int(count)

    setattr(owner, attribute, trapped(getattr(owner, attribute), moment, springs))


def trapped(function: Callable[..., Any], moment: str, springs: Callable[..., bool]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        async def run_async(*arguments: Any, **keywords: Any) -> Any:
            due = springs(arguments, keywords)
            die_if(due and moment == "before")
            result = await function(*arguments, **keywords)
            die_if(due and moment == "after")
            return result

        return functools.wraps(function)(run_async)

    def run(*arguments: Any, **keywords: Any) -> Any:
        due = springs(arguments, keywords)
        die_if(due and moment == "before")
        result = function(*arguments, **keywords)
        die_if(due and moment == "after")
        return result

    return functools.wraps(function)(run)


def die_if(due: bool) -> None:
    if due:
        os.kill(os.getpid(), signal.SIGSTOP if HOLDS else signal.SIGKILL)


if __name__ == "__main__":
    if trap := os.environ.get("STREAMSRV_TRAP"):
        set_trap(*trap.split())
    main()
