"""The schedules at the epochs of the released recipe."""

import pytest
import torch

from afnet.schedules import ratio_loss, target_ratio, temperature


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 1.0), (9, 1.0), (10, 0.25 + 0.5), (15, 0.25 + 0.25), (19, 0.5), (20, 0.25), (54, 0.25)]
)
def test_target_ratio_falls_in_three_steps(epoch: int, expected: float) -> None:
    assert target_ratio(0.25, epoch / 55) == pytest.approx(expected)


@pytest.mark.parametrize(("epoch", "expected"), [(0, 1.0), (25, 0.1), (50, 0.01), (54, 0.01)])
def test_temperature_is_exponential_over_fifty_epochs(epoch: int, expected: float) -> None:
    assert temperature(epoch / 55) == pytest.approx(expected)


def test_ratio_loss_is_the_mean_of_the_blocks_squared_distances() -> None:
    gates = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]])
    assert ratio_loss(gates, 0.5).item() == pytest.approx((0.25 + 0.0) / 2)
