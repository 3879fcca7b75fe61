import numpy as np
import pytest
import torch

from wced.objectives.mlm import hidden_gene_term, masked_position_terms
from wced.objectives.wced import whole_cell_terms

N, G = 6, 11


@pytest.fixture
def cells():
    """Six cells of two datasets, the second of which did not measure three genes; cell 5 expresses nothing."""
    rng = np.random.default_rng(4)
    measured_ng = np.ones((N, G), bool)
    measured_ng[3:, 8:] = False
    target_ng = rng.gamma(1.0, 1.0, (N, G)) * (rng.random((N, G)) < 0.4) * measured_ng
    target_ng[5] = 0
    return rng.normal(0, 3, (N, G)), rng.normal(1, 1, (N, G)), target_ng, measured_ng


def whole(logits_ng, value_ng, target_ng, measured_ng, *loss, **scale):
    """Whole-cell losses of dense arrays, or tensors of predictions."""
    row, gene = np.nonzero(target_ng)
    target = torch.tensor(target_ng[row, gene], dtype=torch.float32)
    predictions = (torch.as_tensor(x_ng) for x_ng in (logits_ng, value_ng))
    measured = torch.tensor(measured_ng)
    return whole_cell_terms(*predictions, torch.tensor(row), torch.tensor(gene), target, measured, *loss, **scale)


def masked(logits, values, target, *loss, **scale):
    """Losses of hidden positions, which are all entries of dense arrays or of tensors of predictions."""
    predictions = (torch.as_tensor(x).flatten() for x in (logits, values))
    return masked_position_terms(*predictions, torch.tensor(target.ravel(), dtype=torch.float32), *loss, **scale)


def means(terms):
    return [term.mean.item() for term in terms]


def dense(logits, values, target, counted):
    """Binary cross-entropy over what counts, squared error over what is expressed; float64."""
    p, y = 1 / (1 + np.exp(-logits)), target > 0
    entropy = -np.where(y, np.log(p), np.log(1 - p))
    return entropy[counted].mean(), ((values - target)[y] ** 2).mean()


def test_whole_cell_losses_equal_the_dense_computation(cells):
    logits_ng, value_ng, target_ng, measured_ng = cells
    losses = whole(*cells)
    assert {part.dtype for term in losses for part in term} == {torch.float32}
    assert [term.count for term in losses] == [measured_ng.sum(), (target_ng > 0).sum()]
    np.testing.assert_allclose(means(losses), dense(logits_ng, value_ng, target_ng, measured_ng), rtol=1e-5)


def test_genes_that_were_not_measured_do_not_count(cells):
    logits_ng, value_ng, target_ng, measured_ng = cells
    logits = torch.tensor(logits_ng, requires_grad=True)
    before = whole(logits, value_ng, target_ng, measured_ng)
    before.detection.mean.backward()
    assert (logits.grad[3:, 8:] == 0).all() and (logits.grad[:3, 8:] != 0).all()
    changed_ng = np.where(measured_ng, logits_ng, 50.0)
    assert whole(changed_ng, value_ng, target_ng, measured_ng).detection == before.detection


def test_extreme_logits_give_finite_losses_and_gradients(cells):
    _, value_ng, target_ng, measured_ng = cells
    for sign in (-1, 1):
        logits = torch.full((N, G), sign * 1e4, requires_grad=True)
        losses = whole(logits, value_ng, target_ng, measured_ng)
        losses.detection.mean.backward()
        assert torch.isfinite(losses.detection.mean) and torch.isfinite(logits.grad).all()


def test_cells_without_expression_have_a_value_loss_of_zero():
    logits, values = torch.zeros(2, G, requires_grad=True), torch.ones(2, G, requires_grad=True)
    losses = whole(logits, values, np.zeros((2, G)), np.ones((2, G), bool))
    assert losses.value.mean == 0 and losses.detection.mean.item() == pytest.approx(np.log(2))
    sum(term.mean for term in losses).backward()
    assert torch.isfinite(logits.grad).all() and (values.grad == 0).all()


def test_nothing_measured_gives_zero():
    losses = whole(torch.randn(2, G), torch.randn(2, G), np.zeros((2, G)), np.zeros((2, G), bool))
    assert means(losses) == [0, 0]


def test_masked_position_losses_equal_the_dense_computation(cells):
    expected = dense(*cells[:3], np.ones((N, G), bool))
    np.testing.assert_allclose(means(masked(*cells[:3])), expected, rtol=1e-5)


@pytest.mark.parametrize("m", [0, 3], ids=["no_position", "zeros_only"])
def test_masked_positions_without_anything_to_predict(m):
    logits, values = torch.zeros(m, requires_grad=True), torch.ones(m, requires_grad=True)
    losses = masked(logits, values, np.zeros(m))
    sum(term.mean for term in losses).backward()
    assert losses.value.mean == 0 and losses.detection.mean.item() == pytest.approx(np.log(2) if m else 0)
    assert (values.grad == 0).all() and torch.isfinite(logits.grad).all()


def test_zero_inflated_error_is_that_of_the_expected_value_everywhere(cells):
    logits_ng, value_ng, target_ng, measured_ng = cells
    expected_ng = value_ng / (1 + np.exp(-logits_ng))
    everywhere = whole(*cells, "zero_inflated_mse").value
    assert everywhere.count == measured_ng.sum()
    np.testing.assert_allclose(everywhere.mean, ((expected_ng - target_ng) ** 2)[measured_ng].mean(), rtol=1e-5)
    positions = masked(logits_ng.astype(np.float32), value_ng.astype(np.float32), target_ng, "zero_inflated_mse").value
    np.testing.assert_allclose(positions.mean, ((expected_ng - target_ng) ** 2).mean(), rtol=1e-5)


def test_scaled_errors_and_their_gradients_are_those_of_the_dense_computation(cells):
    logits_ng, value_ng, target_ng, measured_ng = cells
    scale_g, expressed_ng = np.random.default_rng(1).uniform(0.1, 2, G), target_ng > 0
    error_ng = np.where(expressed_ng, (value_ng - target_ng) / scale_g, 0)
    expected, gradient_ng = (error_ng**2).sum() / expressed_ng.sum(), 2 * error_ng / scale_g / expressed_ng.sum()
    scale_ng = np.tile(scale_g, (N, 1))
    scale_t, scale_m = torch.tensor(scale_ng[expressed_ng]), torch.tensor(scale_ng.ravel())
    for terms in (
        lambda values: whole(logits_ng, values, target_ng, measured_ng, scale_t=scale_t),
        lambda values: masked(logits_ng, values, target_ng, scale_m=scale_m),
    ):
        values = torch.tensor(value_ng, requires_grad=True)
        value = terms(values).value
        assert value.count == expressed_ng.sum()
        value.mean.backward()
        np.testing.assert_allclose(value.mean.item(), expected, rtol=1e-5)
        np.testing.assert_allclose(values.grad, gradient_ng, rtol=1e-5, atol=1e-7)


def test_errors_without_a_scale_are_exactly_the_squared_errors(cells):
    logits_ng, value_ng, target_ng, measured_ng = cells
    values, same = (torch.tensor(value_ng, dtype=torch.float32, requires_grad=True) for _ in range(2))
    total = whole(logits_ng, values, target_ng, measured_ng).value.total
    target_t = torch.tensor(target_ng[target_ng > 0], dtype=torch.float32)
    expected = torch.nn.functional.mse_loss(same[torch.tensor(target_ng > 0)], target_t, reduction="sum")
    total.backward(), expected.backward()
    assert torch.equal(total, expected) and torch.equal(values.grad, same.grad)


def test_hidden_genes_are_named_among_all():
    logits_hg, gene_h = torch.randn(5, G, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 3, 3, 10, 7])
    p = torch.softmax(logits_hg.double(), dim=1)[torch.arange(5), gene_h]
    term = hidden_gene_term(logits_hg, gene_h.int())
    assert term.count == 5
    np.testing.assert_allclose(term.mean, -p.log().mean(), rtol=1e-6)
    nothing = hidden_gene_term(logits_hg[:0], gene_h[:0])
    assert (nothing.mean, nothing.count) == (0, 0)
