"""What a training makes small."""

import pytest
import torch

from training.loss import ratio_loss


def pieces() -> torch.Tensor:
    return torch.randn(2, 4, 2, 5000, generator=torch.Generator().manual_seed(1))


def test_the_ratio_is_in_decibels() -> None:
    """An error of a tenth of each of four stems is 26 dB below their mix, and near the least that counts."""
    stems = pieces()
    assert float(ratio_loss(1.1 * stems, stems)) == pytest.approx(-18.9, abs=0.2)


def test_the_level_is_nothing() -> None:
    """A quiet song is learnt from as much as a loud one."""
    stems = pieces()
    assert float(ratio_loss(0.5 * stems, stems)) == pytest.approx(
        float(ratio_loss(0.05 * stems, 0.1 * stems)), abs=0.01
    )


def test_silence_is_no_trap() -> None:
    """All silent, the mix too, it is finite, and so is where it leads."""
    estimate = torch.zeros(1, 4, 2, 1000, requires_grad=True)
    loss = ratio_loss(estimate, torch.zeros(1, 4, 2, 1000))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(estimate.grad).all()
