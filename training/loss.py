"""What a training makes small, of estimates and true stems: float32 [piece, stem, channel, sample]. Pure."""

from collections.abc import Callable

import torch
from torch.nn.functional import l1_loss

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Below this share of the mix an error counts no less: a stem that is silent would else be all that is learnt.
_LEAST_SHARE = 0.01
_LEAST_ENERGY = 1e-5


def ratio_loss(estimate: torch.Tensor, stems: torch.Tensor) -> torch.Tensor:
    """The error of each stem beside its mix, in dB, in the mean: what SDR is to a constant.

    Unlike Demucs's own loss it takes a quiet stem for as much as a loud one, and where it can't know it tends to the
    mean, which is the best for SDR, instead of to silence. From nothing it learns slower than that.
    """
    mix = _energy(stems.sum(1))[:, None] + _LEAST_ENERGY
    return (10 * torch.log10(_energy(estimate - stems) / mix + _LEAST_SHARE)).mean()


def _energy(sound: torch.Tensor) -> torch.Tensor:
    return sound.square().sum((-2, -1))


# By its name as an option; l1 is Demucs's own.
LOSSES: dict[str, Loss] = {"l1": l1_loss, "ratio": ratio_loss}
