"""Several processes that train one model together, as torchrun starts them; or one alone.

Each draws pieces of its own, and all take the same step, by the mean of their gradients. So they have the same weights
throughout, and one of them can speak for all.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True, slots=True)
class Company:
    """`rank` counts from 0, which is the one that tells, measures and saves; `size` are all of them."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Is this the process that speaks for all?"""
        return self.rank == 0

    def agreed(self, *numbers: float) -> list[float]:
        """What the leading one says, whatever the others say. All have to ask at the same place."""
        if self.size == 1:
            return [*numbers]
        told = torch.tensor(numbers, dtype=torch.float64)
        distributed.broadcast(told, src=0)
        found: list[float] = told.tolist()
        return found

    def share_gradients(self, weights: Iterable[torch.nn.Parameter]) -> None:
        """Put the mean of all processes' gradients in the place of each one's own."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(together)
        together /= self.size
        means = torch.split(together, [gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))


ALONE = Company()


@contextmanager
def company() -> Iterator[Company]:
    """The processes that torchrun has started, within the block; without torchrun a company of one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    # It also carries what is on GPUs. There are some millions of numbers in a step: a quicker one would save little.
    distributed.init_process_group("gloo")
    try:
        yield Company(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
