import numpy as np
import pytest
import torch

from wced.objectives import HierarchicalCrossEntropy
from wced.ontology.cut import OntologyCut

# A diamond: d is a kind of b and of c, both kinds of a; e is a kind of b, f of c; g stands alone below a.
DIAMOND = OntologyCut(
    terms=tuple("abcdefg"),
    labels=tuple("ABCDEFG"),
    parents=((), (0,), (0,), (1, 2), (1,), (2,), (0,)),
)
UNMAPPED = np.zeros((1, 4), bool)
CLASSES_CL = np.concatenate([DIAMOND.descendant_leaves_tl, UNMAPPED])
"""Seven terms (leaves d, e, f, g) and one class that the ontology does not know, code 7."""


def brute_force(logits_nl, label_n):
    """Softmax over leaves, sum of descendants, −log; float64."""
    p_nl = np.exp(logits_nl - logits_nl.max(axis=1, keepdims=True))
    p_nl /= p_nl.sum(axis=1, keepdims=True)
    return np.array([-np.log(p_nl[i, CLASSES_CL[label]].sum()) for i, label in enumerate(label_n)])


@pytest.mark.parametrize("spread", [0.01, 1.0, 10.0], ids=["flat", "usual", "peaked"])
def test_loss_equals_brute_force(spread):
    rng = np.random.default_rng(1)
    logits_nl, label_n = rng.normal(0, spread, (70, 4)), np.arange(70) % 7
    loss, _ = HierarchicalCrossEntropy(CLASSES_CL).per_cell(torch.tensor(logits_nl), torch.tensor(label_n))
    assert loss.dtype == torch.float32
    np.testing.assert_allclose(loss, brute_force(logits_nl.astype(np.float32), label_n), rtol=1e-6, atol=1e-6)


def test_shared_leaf_of_a_diamond_counts_for_both_parents():
    logits_nl = torch.tensor([[5.0, 0.0, 0.0, 0.0]]).expand(3, -1)
    loss, _ = HierarchicalCrossEntropy(CLASSES_CL).per_cell(logits_nl, torch.tensor([1, 2, 6]))
    assert loss[0] == loss[1] < 0.02 < 4 < loss[2]


def test_root_costs_nothing():
    loss, _ = HierarchicalCrossEntropy(CLASSES_CL).per_cell(torch.randn(5, 4), torch.zeros(5, dtype=torch.int32))
    assert loss.abs().max() < 1e-6 and (loss >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("label", range(7))
def test_extreme_logits_give_finite_loss_and_gradient(label, dtype):
    signs = torch.tensor([[a, b, c, d] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1) for d in (-1, 1)])
    logits_nl = (signs * 1e4).to(dtype).requires_grad_()
    loss, _ = HierarchicalCrossEntropy(CLASSES_CL).per_cell(logits_nl, torch.full((16,), label))
    loss.sum().backward()
    assert torch.isfinite(loss).all() and (loss >= 0).all()
    assert torch.isfinite(logits_nl.grad).all()
    worst = ~CLASSES_CL[label] & (signs.numpy() > 0)  # rows where only leaves outside are likely
    only_outside = worst.any(axis=1) & ~(CLASSES_CL[label] & (signs.numpy() > 0)).any(axis=1)
    assert loss.detach().float().numpy()[only_outside] == pytest.approx(2e4, rel=0.01)


def test_unknown_labels_and_unmapped_classes_weigh_nothing_and_have_no_gradient():
    logits_nl = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    label_n = torch.tensor([-1, 3, 7, 1, -1])
    term = HierarchicalCrossEntropy(CLASSES_CL)(logits_nl, label_n)
    term.mean.backward()
    assert term.count == 2
    expected = brute_force(logits_nl.detach().numpy()[[1, 3]], label_n[[1, 3]])
    np.testing.assert_allclose(term.mean.item(), expected.mean(), rtol=1e-6)
    assert (logits_nl.grad[[0, 2, 4]] == 0).all() and (logits_nl.grad[[1, 3]] != 0).any(dim=1).all()
    nothing = HierarchicalCrossEntropy(CLASSES_CL)(torch.randn(2, 4), torch.tensor([-1, 7]))
    assert (nothing.total, nothing.count, nothing.mean) == (0, 0, 0)


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4], ids="shift={}".format)
def test_large_logits_keep_their_digits(shift):
    """Logits on a grid that float32 holds exactly at 1e4."""
    logits_nl = np.random.default_rng(5).integers(-3000, 3000, (70, 4)) / 1024 + shift
    label_n = np.arange(70) % 7
    loss, _ = HierarchicalCrossEntropy(CLASSES_CL).per_cell(torch.tensor(logits_nl), torch.tensor(label_n))
    np.testing.assert_allclose(loss, brute_force(logits_nl, label_n), rtol=1e-6, atol=1e-6)


def test_gradient_equals_finite_differences():
    loss = HierarchicalCrossEntropy(CLASSES_CL)
    logits_nl, label_n = np.random.default_rng(2).normal(0, 2, (7, 4)), np.arange(7)
    x = torch.tensor(logits_nl, requires_grad=True)
    loss(x, torch.tensor(label_n)).total.backward()
    step = 1e-5
    for leaf in range(4):
        move = np.eye(4)[leaf] * step
        slope = (brute_force(logits_nl + move, label_n) - brute_force(logits_nl - move, label_n)) / (2 * step)
        np.testing.assert_allclose(x.grad[:, leaf], slope, atol=1e-5)


def test_correct_is_the_most_probable_leaf_below_the_label():
    logits_nl = torch.eye(4)[[0, 0, 0, 1, 3, 0]]
    correct = HierarchicalCrossEntropy(CLASSES_CL).correct(logits_nl, torch.tensor([1, 2, 6, 2, 0, -1]))
    assert tuple(correct) == (3, 5)
