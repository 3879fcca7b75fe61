import pytest
import torch

from wced.objectives import Term, weighted_mean


def term(mean, count=4.0):
    return Term(torch.tensor(mean * count), torch.tensor(count))


TERMS = {"a": term(2.0), "b": term(5.0, 10.0), "c": term(float("nan"))}


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
    assert weighted_mean(TERMS, weights).item() == pytest.approx(expected)


def test_a_loss_with_a_count_of_zero_has_no_weight():
    terms = {"a": term(2.0), "b": Term(torch.tensor(0.0), torch.tensor(0.0))}
    assert weighted_mean(terms, {"a": 0.5, "b": 100.0}).item() == 2.0


@pytest.mark.parametrize("weights", [{"a": 0.0}, {"a": 3.0}], ids=["no_weight", "no_count"])
def test_without_an_active_loss_the_gradient_is_zero(weights):
    logits = torch.ones(3, requires_grad=True)
    total = weighted_mean({"a": Term(logits.sum() * 0, torch.tensor(0.0))}, weights)
    total.backward()
    assert total == 0 and (logits.grad == 0).all()
