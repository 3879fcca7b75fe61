from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wced.objectives import mlm, wced

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


def section(**changes):
    return SimpleNamespace(**{"value_loss": "mse", "value_scale": "none", "hide_genes": 0.0} | changes)


def whole(logits_ng, value_ng, target_ng, measured_ng, scale_g=0.0, **changes):
    """Detection and value losses of whole cells, from dense arrays or tensors of predictions."""
    row, gene = np.nonzero(target_ng)
    batch = {
        "target_row": torch.tensor(row), "target_gene": torch.tensor(gene, dtype=torch.int32),
        "target_value": torch.tensor(target_ng[row, gene]).float(), "dataset": torch.arange(len(target_ng)),
        "measured_dv": torch.tensor(measured_ng), "value_scale_g": torch.tensor(scale_g),
    }  # fmt: skip
    output = SimpleNamespace(detection_logits=torch.as_tensor(logits_ng), values=torch.as_tensor(value_ng))
    return tuple(wced.terms(section(**changes), batch, output).values())


def masked(logits_ng, value_ng, target_ng, measured_ng=None, scale_g=0.0, **changes):
    """Detection and value losses of hidden positions, which are all entries of dense arrays or tensors."""
    batch = {
        "gene": torch.arange(G).expand(len(target_ng), G), "masked_at": torch.arange(target_ng.size),
        "position_target": torch.tensor(target_ng, dtype=torch.float32), "value_scale_g": torch.tensor(scale_g),
    }  # fmt: skip
    logits, values = (torch.as_tensor(x_ng).flatten() for x_ng in (logits_ng, value_ng))
    output = SimpleNamespace(position_logits=logits, position_values=values)
    return tuple(mlm.terms(section(**changes), batch, output).values())


def means(losses):
    return [term.mean.item() for term in losses]


def dense(logits, values, target, counted):
    """Binary cross-entropy over what counts, squared error over what is expressed; float64."""
    p, y = 1 / (1 + np.exp(-logits)), target > 0
    entropy = -np.where(y, np.log(p), np.log(1 - p))
    return entropy[counted].mean(), ((values - target)[y] ** 2).mean()


def test_whole_cell_losses_equal_the_dense_computation(cells):
    losses = whole(*cells)
    assert {part.dtype for term in losses for part in term} == {torch.float32}
    assert [term.count for term in losses] == [cells[3].sum(), (cells[2] > 0).sum()]
    np.testing.assert_allclose(means(losses), dense(*cells), rtol=1e-5)


def test_genes_that_were_not_measured_do_not_count(cells):
    logits_ng, *others, measured_ng = cells
    logits = torch.tensor(logits_ng, requires_grad=True)
    before, _ = whole(logits, *others, measured_ng)
    before.mean.backward()
    assert (logits.grad[3:, 8:] == 0).all() and (logits.grad[:3, 8:] != 0).all()
    assert whole(np.where(measured_ng, logits_ng, 50.0), *others, measured_ng)[0] == before


@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_logits_give_finite_losses_and_gradients(cells, sign):
    logits = torch.full((N, G), sign * 1e4, requires_grad=True)
    detection, _ = whole(logits, *cells[1:])
    detection.mean.backward()
    assert torch.isfinite(detection.mean) and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("losses", [whole, masked])
@pytest.mark.parametrize("n", [0, 2], ids=["no_cell", "zeros_only"])
def test_cells_without_expression_have_a_value_loss_of_zero(losses, n):
    logits, values = torch.zeros(n, G, requires_grad=True), torch.ones(n, G, requires_grad=True)
    detection, value = losses(logits, values, np.zeros((n, G)), np.ones((n, G), bool))
    (detection.mean + value.mean).backward()
    assert value.mean == 0 and detection.mean.item() == pytest.approx(np.log(2) if n else 0)
    assert (values.grad == 0).all() and torch.isfinite(logits.grad).all()


def test_nothing_measured_gives_zero():
    nothing_ng = np.zeros((2, G))
    assert means(whole(torch.randn(2, G), torch.randn(2, G), nothing_ng, nothing_ng > 0)) == [0, 0]


def test_masked_position_losses_equal_the_dense_computation(cells):
    np.testing.assert_allclose(means(masked(*cells)), dense(*cells[:3], np.ones((N, G), bool)), rtol=1e-5)


def test_zero_inflated_error_is_that_of_the_expected_value_everywhere(cells):
    logits_ng, value_ng, target_ng, measured_ng = cells
    error_ng = value_ng / (1 + np.exp(-logits_ng)) - target_ng
    _, value = whole(*cells, value_loss="zero_inflated_mse")
    assert value.count == measured_ng.sum()
    np.testing.assert_allclose(value.mean, (error_ng[measured_ng] ** 2).mean(), rtol=1e-5)
    _, value = masked(*cells, value_loss="zero_inflated_mse")
    np.testing.assert_allclose(value.mean, (error_ng**2).mean(), rtol=1e-5)


@pytest.mark.parametrize("losses", [whole, masked])
def test_scaled_errors_and_their_gradients_are_those_of_the_dense_computation(cells, losses):
    logits_ng, value_ng, target_ng, measured_ng = cells
    scale_g, expressed_ng = np.random.default_rng(1).uniform(0.1, 2, G), target_ng > 0
    error_ng = np.where(expressed_ng, (value_ng - target_ng) / scale_g, 0)
    expected, gradient_ng = (error_ng**2).sum() / expressed_ng.sum(), 2 * error_ng / scale_g / expressed_ng.sum()
    values = torch.tensor(value_ng, requires_grad=True)
    _, value = losses(logits_ng, values, target_ng, measured_ng, scale_g, value_scale="gene_std")
    assert value.count == expressed_ng.sum()
    value.mean.backward()
    np.testing.assert_allclose(value.mean.item(), expected, rtol=1e-5)
    np.testing.assert_allclose(values.grad, gradient_ng, rtol=1e-5, atol=1e-7)


def test_errors_without_a_scale_are_exactly_the_squared_errors(cells):
    logits_ng, value_ng, target_ng, measured_ng = cells
    values, same = (torch.tensor(value_ng, dtype=torch.float32, requires_grad=True) for _ in range(2))
    _, value = whole(logits_ng, values, target_ng, measured_ng)
    target_t = torch.tensor(target_ng[target_ng > 0], dtype=torch.float32)
    expected = torch.nn.functional.mse_loss(same[torch.tensor(target_ng > 0)], target_t, reduction="sum")
    value.total.backward(), expected.backward()
    assert torch.equal(value.total, expected) and torch.equal(values.grad, same.grad)


@pytest.mark.parametrize("hidden", [[0, 3, 3, 10, 7], []], ids=["some", "none"])
def test_hidden_genes_are_predicted_among_all(hidden):
    logits_hg = torch.randn(len(hidden), G, generator=torch.Generator().manual_seed(1))
    batch = {
        "gene": torch.arange(G, dtype=torch.int32)[None], "position_target": torch.zeros(1, G),
        "masked_at": torch.arange(0), "gene_masked_at": torch.tensor(hidden, dtype=torch.long),
    }  # fmt: skip
    output = SimpleNamespace(position_logits=torch.zeros(0), position_values=torch.zeros(0), gene_logits=logits_hg)
    term = mlm.terms(section(hide_genes=1.0), batch, output)["mlm_gene"]
    assert term.count == len(hidden)
    p_h = torch.softmax(logits_hg.double(), dim=1)[torch.arange(len(hidden)), hidden]
    np.testing.assert_allclose(term.mean, -p_h.log().mean() if hidden else 0, rtol=1e-6)
