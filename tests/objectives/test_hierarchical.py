import numpy as np
import pytest
import torch

from wced.objectives.hierarchical import HierarchicalCrossEntropy, LeafTargets
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
PAPER = LeafTargets(CLASSES_CL, np.full(8, -1))
RESIDUAL = OntologyCut(DIAMOND.terms, DIAMOND.labels, DIAMOND.parents, residuals=(1, 2))
"""The same with residual leaves of b and c: leaves d, e, f, g, b, c."""
NAMED = LeafTargets(
    np.concatenate([RESIDUAL.descendant_leaves_tl, np.zeros((1, 6), bool)]), np.append(RESIDUAL.residual_leaf_t, -1)
)


TARGETS = pytest.mark.parametrize(
    ("targets", "weight"), [(PAPER, 0.0), (NAMED, 0.0), (NAMED, 0.25), (NAMED, 1.0)], ids=["paper", "0", "0.25", "1"]
)


def brute_force(logits_nl, label_n, targets=PAPER, weight=0.0):
    """−(1 − w) log P(M) − w log P(r) from a softmax over leaves in float64; without a residual leaf −log P(M)."""
    p_nl = np.exp(logits_nl - logits_nl.max(axis=1, keepdims=True))
    p_nl /= p_nl.sum(axis=1, keepdims=True)
    loss = []
    for p_l, label in zip(p_nl, label_n, strict=True):
        below = -np.log(p_l[targets.descendant_leaves_cl[label]].sum())
        residual = targets.residual_leaf_c[label]
        loss.append((1 - weight) * below + weight * (below if residual < 0 else -np.log(p_l[residual])))
    return np.array(loss)


@TARGETS
@pytest.mark.parametrize("spread", [0.01, 1.0, 10.0], ids=["flat", "usual", "peaked"])
def test_loss_equals_brute_force(spread, targets, weight):
    rng, leaves = np.random.default_rng(1), targets.descendant_leaves_cl.shape[1]
    logits_nl, label_n = rng.normal(0, spread, (70, leaves)).astype(np.float32), np.arange(70) % 7
    x_nl = torch.tensor(logits_nl, dtype=torch.float64)
    loss, _ = HierarchicalCrossEntropy(targets, weight).per_cell(x_nl, torch.tensor(label_n))
    assert loss.dtype == torch.float32
    np.testing.assert_allclose(loss, brute_force(logits_nl, label_n, targets, weight), rtol=1e-6, atol=1e-6)


def test_shared_leaf_of_a_diamond_counts_for_both_parents():
    logits_nl = torch.tensor([[5.0, 0.0, 0.0, 0.0]]).expand(3, -1)
    loss, _ = HierarchicalCrossEntropy(PAPER).per_cell(logits_nl, torch.tensor([1, 2, 6]))
    assert loss[0] == loss[1] < 0.02 < 4 < loss[2]


def test_root_costs_nothing():
    loss, _ = HierarchicalCrossEntropy(PAPER).per_cell(torch.randn(5, 4), torch.zeros(5, dtype=torch.int32))
    assert loss.abs().max() < 1e-6 and (loss >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("label", range(7))
def test_extreme_logits_give_finite_loss_and_gradient(label, dtype):
    signs = torch.tensor([[a, b, c, d] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1) for d in (-1, 1)])
    logits_nl = (signs * 1e4).to(dtype).requires_grad_()
    loss, _ = HierarchicalCrossEntropy(PAPER).per_cell(logits_nl, torch.full((16,), label))
    loss.sum().backward()
    assert torch.isfinite(loss).all() and (loss >= 0).all()
    assert torch.isfinite(logits_nl.grad).all()
    worst = ~CLASSES_CL[label] & (signs.numpy() > 0)  # rows where only leaves outside are likely
    only_outside = worst.any(axis=1) & ~(CLASSES_CL[label] & (signs.numpy() > 0)).any(axis=1)
    assert loss.detach().float().numpy()[only_outside] == pytest.approx(2e4, rel=0.01)


def test_unknown_labels_and_unmapped_classes_weigh_nothing_and_have_no_gradient():
    logits_nl = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    label_n = torch.tensor([-1, 3, 7, 1, -1])
    term = HierarchicalCrossEntropy(PAPER)(logits_nl, label_n)
    term.mean.backward()
    assert term.count == 2
    expected = brute_force(logits_nl.detach().numpy()[[1, 3]], label_n[[1, 3]])
    np.testing.assert_allclose(term.mean.item(), expected.mean(), rtol=1e-6)
    assert (logits_nl.grad[[0, 2, 4]] == 0).all() and (logits_nl.grad[[1, 3]] != 0).any(dim=1).all()
    nothing = HierarchicalCrossEntropy(PAPER)(torch.randn(2, 4), torch.tensor([-1, 7]))
    assert (nothing.total, nothing.count, nothing.mean) == (0, 0, 0)


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4], ids="shift={}".format)
def test_large_logits_keep_their_digits(shift):
    """Logits on a grid that float32 holds exactly at 1e4."""
    logits_nl = np.random.default_rng(5).integers(-3000, 3000, (70, 4)) / 1024 + shift
    label_n = np.arange(70) % 7
    loss, _ = HierarchicalCrossEntropy(PAPER).per_cell(torch.tensor(logits_nl), torch.tensor(label_n))
    np.testing.assert_allclose(loss, brute_force(logits_nl, label_n), rtol=1e-6, atol=1e-6)


@TARGETS
def test_gradient_equals_finite_differences(targets, weight):
    leaves = targets.descendant_leaves_cl.shape[1]
    logits_nl, label_n = np.random.default_rng(2).normal(0, 2, (7, leaves)), np.arange(7)
    x = torch.tensor(logits_nl, requires_grad=True)
    HierarchicalCrossEntropy(targets, weight)(x, torch.tensor(label_n)).total.backward()
    for leaf, move in enumerate(np.eye(leaves) * 1e-5):
        above, below = (brute_force(logits_nl + sign * move, label_n, targets, weight) for sign in (1, -1))
        np.testing.assert_allclose(x.grad[:, leaf], (above - below) / 2e-5, atol=1e-5)


def test_correct_is_the_most_probable_leaf_below_the_label():
    logits_nl = torch.eye(4)[[0, 0, 0, 1, 3, 0]]
    correct = HierarchicalCrossEntropy(PAPER).correct(logits_nl, torch.tensor([1, 2, 6, 2, 0, -1]))
    assert tuple(correct) == (3, 5)


def test_labels_without_a_residual_leaf_have_the_loss_of_the_paper():
    """To the bit, loss and gradient: labels without children, the root, unknown ones; and all labels at weight 0."""
    logits_nl = torch.randn(64, 6, generator=torch.Generator().manual_seed(3)) * 5
    label_n = torch.arange(64) % 9 - 1
    results = []
    for targets, weight in ((NAMED._replace(residual_leaf_c=np.full(8, -1)), 0.0), (NAMED, 0.0), (NAMED, 0.7)):
        x = logits_nl.clone().requires_grad_()
        loss_n, _ = HierarchicalCrossEntropy(targets, weight).per_cell(x, label_n)
        loss_n.sum().backward()
        results.append(torch.cat([loss_n.detach()[:, None], x.grad], dim=1))
    paper, none, named = results
    assert torch.equal(none, paper)
    coarse = (label_n == 1) | (label_n == 2)
    assert torch.equal(named[~coarse], paper[~coarse]) and (named[coarse, 0] > paper[coarse, 0]).all()


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_a_coarse_label_counts_its_weight_against_a_finer_one(weight):
    """The least loss of like cells, some labelled b and others e, is where the docstring says."""
    share = 0.6  # labelled b
    logits_nl = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    loss = HierarchicalCrossEntropy(NAMED, weight)
    optimiser = torch.optim.LBFGS([logits_nl], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        value_n, _ = loss.per_cell(logits_nl.expand(2, -1), torch.tensor([1, 4]))
        value = share * value_n[0] + (1 - share) * value_n[1]
        value.backward()
        return value

    optimiser.step(closure)
    p_l = torch.softmax(logits_nl.detach()[0], 0).numpy()
    assert p_l[[1, 4]].sum() == pytest.approx(1, abs=1e-3)  # e and the residual of b
    assert p_l[4] == pytest.approx(weight * share / (weight * share + 1 - share), abs=2e-3)


def test_extreme_logits_of_residual_leaves_give_finite_loss_and_gradient():
    logits_nl = (1e4 * (2 * torch.eye(6) - 1)).repeat_interleave(7, dim=0).requires_grad_()
    loss, _ = HierarchicalCrossEntropy(NAMED, 0.25).per_cell(logits_nl, torch.arange(42) % 7)
    loss.sum().backward()
    assert torch.isfinite(loss).all() and (loss >= 0).all() and torch.isfinite(logits_nl.grad).all()
    # e is certain: for the label b that costs the weight alone, of a gap of 2e4.
    assert loss.detach()[1 * 7 + 1].item() == pytest.approx(0.25 * 2e4)


def test_a_residual_leaf_is_right_for_its_term_and_the_ancestors_of_it():
    logits_nl = torch.eye(6)[[4, 4, 4, 5]]
    correct = HierarchicalCrossEntropy(NAMED, 0.25).correct(logits_nl, torch.tensor([1, 0, 4, 1]))
    assert tuple(correct) == (2, 4)  # b and a; not e, and the residual of c is no b
