import numpy as np
import pytest
import torch

from wced.objectives.labels import FlatLabelLoss


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0], ids="gamma={}".format)
def test_loss_equals_the_formula_in_float64(gamma):
    rng = np.random.default_rng(3)
    logits_nc, label_n = rng.normal(0, 3, (60, 5)), rng.integers(0, 5, 60)
    p = np.exp(logits_nc) / np.exp(logits_nc).sum(axis=1, keepdims=True)
    p = p[np.arange(60), label_n]
    arguments = torch.tensor(logits_nc), torch.tensor(label_n)
    loss, known = FlatLabelLoss(gamma).per_cell(*arguments)
    assert loss.dtype == torch.float32 and known.all()
    expected = -((1 - p) ** gamma) * np.log(p)
    np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-7)
    term = FlatLabelLoss(gamma)(*arguments)
    assert term.count == 60
    np.testing.assert_allclose(term.mean, expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0], ids="gamma={}".format)
@pytest.mark.parametrize("gap", [10.0, 100.0, 1e4, -1e4], ids="gap={}".format)
def test_gradient_is_finite_however_sure_the_model_is(gap, gamma, dtype):
    logits_nc = torch.tensor([[gap, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    loss, _ = FlatLabelLoss(gamma).per_cell(logits_nc, torch.tensor([0]))
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(logits_nc.grad).all()
    assert loss.item() == pytest.approx(max(-gap, 0), abs=1e-3, rel=0.01)


@pytest.mark.parametrize("gamma", [0.0, 2.0], ids=["cross_entropy", "focal"])
def test_unknown_labels_weigh_nothing_and_have_no_gradient(gamma):
    logits_nc = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    label_n = torch.tensor([-1, 2, -1, 0], dtype=torch.int32)
    term = FlatLabelLoss(gamma)(logits_nc, label_n)
    term.mean.backward()
    assert term.count == 2
    torch.testing.assert_close(term.total, FlatLabelLoss(gamma)(logits_nc[[1, 3]], label_n[[1, 3]]).total)
    assert (logits_nc.grad[[0, 2]] == 0).all() and (logits_nc.grad[[1, 3]] != 0).any(dim=1).all()
    nothing = FlatLabelLoss(gamma)(logits_nc, torch.full((4,), -1))
    assert (nothing.total, nothing.count, nothing.mean) == (0, 0, 0)


def test_correct_is_the_most_probable_class():
    correct = FlatLabelLoss(2.0).correct(torch.eye(3), torch.tensor([0, 2, -1]))
    assert tuple(correct) == (1, 2)
