import pytest
import torch

from wced.objectives import weighted_mean

LOSSES = {"a": torch.tensor(2.0), "b": torch.tensor(5.0), "c": torch.tensor(float("nan"))}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"a": 1.0, "b": 1.0, "c": 0.0}, 3.5),
        ({"a": 1.0, "b": 0.05, "c": 0.0}, (2 + 0.25) / 1.05),
        ({"a": 0.0, "b": 0.3, "c": 0.0}, 5.0),
    ],
    ids=["mean", "weighted", "one"],
)
def test_mean_over_losses_with_weight(weights, expected):
    assert weighted_mean(LOSSES, weights).item() == pytest.approx(expected)


def test_a_loss_that_is_not_there_has_no_weight():
    assert weighted_mean({"a": LOSSES["a"]}, {"a": 0.5, "b": 100.0}).item() == 2.0


def test_no_positive_weight_is_refused():
    with pytest.raises(ValueError, match="no loss has a positive weight"):
        weighted_mean(LOSSES, dict.fromkeys(LOSSES, 0.0))
