import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import sparse

from wced.config.model import Model
from wced.config.pretraining import Checkpoint
from wced.pretraining.build import build_model
from wced.pretraining.gene_statistics import cell_values
from wced.pretraining.start import depth_scale, start_from_statistics
from wced.shards.components import principal_components
from wced.shards.reader import ShardSet

SHAPE = {"hidden_size": 32, "layers": 1, "heads": 2, "intermediate_size": 32, "decoder_width": 16}


@pytest.fixture(scope="module")
def shards(made):
    return ShardSet(made.shards)


@pytest.fixture(scope="module")
def cells(shards):
    """Training cells, dense: values, which genes were measured, and the standardised log number of expressed genes."""
    rows = shards.places("train")
    taken = shards.take(rows)
    shape = (len(rows), len(shards.vocabulary))
    x_ng = sparse.csr_matrix((taken.count.astype(float), taken.gene.astype(int), taken.offsets), shape).toarray()
    log_n = np.log((x_ng > 0).sum(axis=1))
    x_ng = np.log1p(1e4 * x_ng / x_ng.sum(axis=1, keepdims=True))
    return x_ng, shards.measured_dv[shards.column("dataset", rows)], (log_n - log_n.mean()) / log_n.std()


def started(shards, seed=0, components=0, objective="wced", **section):
    size = Model(**SHAPE, gene_components=components)
    model = build_model(shards, size, Checkpoint.model_validate({objective: section}), None, seed)
    start_from_statistics(model, shards, cell_values(shards, "train", null=False), size, seed)
    return model


def test_depth_is_standardised_over_the_training_cells(shards, cells):
    scale, rows = depth_scale(shards), shards.places("train")
    log_n = np.log(np.diff(shards.offsets(rows)))
    np.testing.assert_allclose((log_n - scale["mean"]) / scale["std"], cells[2], atol=1e-9)


def test_slopes_are_those_of_regressions_on_depth(shards, cells):
    x_ng, measured_ng, z_n = cells
    decoder = started(shards, depth=True).decoders["wced"]
    slopes_2g = decoder.depth.detach().numpy()
    checked = 0
    for gene in range(x_ng.shape[1]):
        measured, expressed = measured_ng[:, gene], x_ng[:, gene] > 0
        if not expressed.any():
            assert slopes_2g[1, gene] == 0
            continue
        rate = np.clip(expressed[measured].mean(), 1e-4, 1 - 1e-4)
        centred = z_n[measured] - z_n[measured].mean()
        # The gradient of the log-likelihood at a slope of 0, over its curvature there.
        newton = (centred * expressed[measured]).sum() / (rate * (1 - rate) * (centred**2).sum() + 10)
        assert slopes_2g[0, gene] == pytest.approx(newton, abs=1e-5)
        assert decoder.detection.bias[gene].item() == pytest.approx(
            np.log(rate / (1 - rate)) - newton * z_n[measured].mean(), abs=1e-5
        )
        value, z = x_ng[expressed, gene], z_n[expressed]
        ridge = ((z - z.mean()) * (value - value.mean())).sum() / (((z - z.mean()) ** 2).sum() + 10)
        assert slopes_2g[1, gene] == pytest.approx(ridge, abs=1e-5)
        assert decoder.value.bias[gene].item() == pytest.approx(value.mean() - ridge * z.mean(), abs=1e-4)
        checked += 1
    assert checked > 50


def test_a_decoder_told_the_depth_fits_better_from_the_start(shards, cells):
    x_ng, measured_ng, z_n = cells
    losses = []
    for depth in (False, True):
        decoder = started(shards, depth=depth).decoders["wced"]
        with torch.no_grad():
            decoder.hidden[0].weight.zero_(), decoder.detection.weight.zero_()
            logit_ng, _ = decoder(torch.zeros(len(z_n), 32), torch.from_numpy(z_n))
        target = torch.from_numpy((x_ng > 0).astype(np.float32))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logit_ng.float(), target, reduction="none")
        losses.append(loss[torch.from_numpy(measured_ng)].mean().item())
    assert losses[1] < losses[0]


def test_a_position_decoder_told_the_depth_has_the_lines_of_the_whole_cells(shards):
    whole, decoder = (started(shards, objective=name, depth=True).decoders[name] for name in ("wced", "mlm"))
    assert torch.equal(decoder.depth, whole.depth)
    assert torch.equal(decoder.intercept, torch.stack([whole.detection.bias, whole.value.bias]))
    gene_m, depth_m, hidden_md = torch.tensor([3, 0, 3]), torch.tensor([-1.0, 0.5, 2.0]), torch.randn(3, 32)
    with torch.no_grad():
        decoded_m2 = torch.stack(decoder(hidden_md, gene_m, depth_m), dim=1)
        expected_m2 = decoder.layers(hidden_md) + decoder.intercept[:, gene_m].T
        expected_m2 += depth_m[:, None] * decoder.depth[:, gene_m].T
    torch.testing.assert_close(decoded_m2, expected_m2)


def test_a_position_decoder_is_told_the_depth_of_the_whole_cell_of_each_position(shards):
    model = started(shards, objective="mlm", depth=True).eval()
    gene, value = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.ones(2, 3)
    masked = torch.tensor([[True, False, False], [False, True, True]])
    scale, z_n = model.config.decoder_depth, torch.tensor([0.0, 2.0])
    expressed = (scale["mean"] + scale["std"] * z_n).exp()
    with torch.no_grad():
        without, deep = (
            model(gene, value, torch.tensor([3, 3]), masked, expressed=counts).position_values
            for counts in (None, expressed)
        )
    slope_g = model.decoders["mlm"].depth[1].detach()
    torch.testing.assert_close(deep - without, torch.stack([0 * slope_g[1], 2 * slope_g[5], 2 * slope_g[6]]))


def test_without_a_number_of_genes_the_depth_is_the_mean(shards):
    model = started(shards, depth=True).eval()
    gene, value = torch.tensor([[1, 2, 3]]), torch.tensor([[1.0, 2.0, 0.5]])
    mean = torch.tensor([np.exp(model.config.decoder_depth["mean"])])
    with torch.no_grad():
        without = model(gene, value, torch.tensor([3]))
        at_mean = model(gene, value, torch.tensor([3]), expressed=mean)
        deeper = model(gene, value, torch.tensor([3]), expressed=2 * mean)
    torch.testing.assert_close(without.detection_logits, at_mean.detection_logits)
    assert (deeper.detection_logits > at_mean.detection_logits).float().mean() > 0.5
    assert torch.equal(without.cls_embedding, deeper.cls_embedding)


def test_gene_vectors_start_from_principal_components(shards):
    vectors_vd = started(shards, components=8).embedding.gene.weight.detach().numpy()
    assert np.sqrt(np.square(vectors_vd).mean()) == pytest.approx(0.2, rel=1e-3)
    # Rotated and scaled, but with the angles of the whitened loadings.
    _, loading_vk = principal_components(shards, 8, 100_000, 0)
    expected_vv, inner_vv = loading_vk @ loading_vk.T, vectors_vd @ vectors_vd.T
    np.testing.assert_allclose(inner_vv / np.trace(inner_vv), expected_vv / np.trace(expected_vv), atol=1e-6)
    again, other = (started(shards, seed, components=8).embedding.gene.weight for seed in (0, 1))
    assert np.array_equal(again.detach().numpy(), vectors_vd)
    assert not np.allclose(other.detach().numpy(), vectors_vd)


def test_components_must_fit_the_width():
    with pytest.raises(ValidationError, match="gene_components 33 is above hidden_size 32"):
        Model(**SHAPE, gene_components=33)
    with pytest.raises(ValidationError, match="both say what gene vectors start from"):
        Model(**SHAPE, gene_components=4, gene_embeddings={"path": "x.tsv"})
