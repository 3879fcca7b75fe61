from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from small_model import CELL_TYPE, TISSUE
from wced import tables
from wced.embedding import attribution
from wced.embedding.attribution import attribute, position_attributions, read_target
from wced.embedding.inference import label_logits
from wced.embedding.inputs import read_cells
from wced.errors import WcedError


class Toy(nn.Module):
    """f(v) = g(Σ_p w_p · e(v_p)) with e(v) = (v, 2v): the layer is what is attributed to."""

    def __init__(self, g):
        super().__init__()
        self.layer = nn.Linear(1, 2, bias=False)
        self.layer.weight.data = torch.tensor([[1.0], [2.0]])
        self.weight_pd = torch.tensor([[3.0, 1.0], [-1.0, 0.5], [0.0, 0.0]])
        self.g = g

    def forward(self, value_nl, shift):
        return self.g((self.layer(value_nl[:, :, None]) * self.weight_pd).sum(dim=(1, 2))) + shift


VALUES = torch.tensor([[1.0, 2.0, 5.0], [0.5, 0.0, 1.0]])


@pytest.mark.parametrize("at_once", [1, 2, 7, 1000])
def test_a_linear_model_is_attributed_exactly(at_once):
    toy = Toy(lambda x: x)
    attribution_np, change, error = position_attributions(
        toy, toy.layer, VALUES, (torch.tensor([7.0, 8.0]),), steps=1 if at_once == 1 else 5, at_once=at_once
    )
    torch.testing.assert_close(attribution_np, VALUES * torch.tensor([5.0, 0.0, 0.0]))  # (3 + 2·1, -1 + 2·½, 0) · v
    torch.testing.assert_close(change, attribution_np.sum(1))
    assert error.abs().max() < 1e-6


def test_a_fourth_power_needs_two_points_and_one_shows_in_the_error():
    toy = Toy(lambda x: x**4)
    (coarse, change, error), (fine, _, small) = (
        position_attributions(toy, toy.layer, VALUES, (0.0,), steps=steps, at_once=8) for steps in (1, 2)
    )
    total = 5 * VALUES[:, 0]  # all of it comes from the first gene
    torch.testing.assert_close(change, total**4)
    torch.testing.assert_close(fine[:, 0], total**4)
    assert small.abs().max() / change.abs().max() < 1e-5
    torch.testing.assert_close(error, coarse.sum(1) - change)
    torch.testing.assert_close(coarse[:, 0], 4 * (total / 2) ** 3 * total)


@pytest.mark.parametrize(
    "target",
    [f"{CELL_TYPE}=CL:1", f"{CELL_TYPE}=CL:2", f"{TISSUE}=here", "age", "detection=G5", "value=ENSG00000000005.3"],
)
@pytest.mark.parametrize("more", [{}, {"backbone": "bert", "input": {"length": 20, "zeros": "include"}}])
def test_attributions_add_up_to_what_expression_changes(make, adata, target, more):
    checkpoint = make(length=10, **more)
    cells = read_cells(adata, checkpoint)
    frame, facts = attribute(cells, checkpoint, target, steps=64, batch_size=3)
    _, coarse = attribute(cells, checkpoint, target, steps=1, batch_size=3)
    assert coarse["completeness_error_mean"] > 1e-2
    assert facts["completeness_error_mean"] <= facts["completeness_error_max"] < 1e-2
    assert frame["attribution"].sum() == pytest.approx(
        facts["change"], rel=1e-2, abs=1e-2 * frame["abs_attribution"].sum()
    )
    assert abs(facts["change"]) > 1e-4 and facts["cells"] == 7 and facts["steps"] == 64
    assert (frame["abs_attribution"] >= frame["attribution"].abs() - 1e-12).all()
    assert frame["abs_attribution"].is_monotonic_decreasing and (frame["cells"] == 7).all()
    tables.checked(frame, tables.ATTRIBUTIONS)


def test_genes_get_what_their_positions_got(make, adata, monkeypatch):
    checkpoint = make(length=20)
    sign = iter((-1) ** i for i in range(1, 1000))

    def numbered(forward, layer, value, others, **_):
        gene, length = others[:2]
        k = checkpoint.model.config.cls_positions
        attribution = torch.full((len(value), k + value.shape[1]), 1e6)  # CLS and padding must not be counted
        for row in range(len(value)):
            attribution[row, k : k + length[row]] = next(sign) * (1 + gene[row, : length[row]].float())
        return attribution, torch.ones(len(value)), torch.zeros(len(value))

    monkeypatch.setattr(attribution, "position_attributions", numbered)
    frame, _ = attribute(read_cells(adata, checkpoint), checkpoint, "age", batch_size=2)
    x_nv = adata.to_df().reindex(columns=checkpoint.vocabulary.gene_ids, fill_value=0).to_numpy() > 0
    order = np.argsort(-x_nv.sum(axis=1), kind="stable")  # the longest cells come first
    sign_n = np.zeros(7)
    sign_n[order] = (-1.0) ** np.arange(1, 8)
    index = [checkpoint.vocabulary.gene_ids.index(gene) for gene in frame["gene_id"]]
    assert sorted(index) == np.flatnonzero(x_nv.any(axis=0)).tolist()
    per_gene = (sign_n[:, None] * x_nv * (1 + np.arange(20)))[:, index]
    np.testing.assert_allclose(frame["attribution"], per_gene.sum(axis=0) / 7, atol=1e-9)
    np.testing.assert_allclose(frame["abs_attribution"], np.abs(per_gene).sum(axis=0) / 7, atol=1e-9)
    assert frame["cells_expressing"].tolist() == x_nv.sum(axis=0)[index].tolist()
    assert frame["gene_symbol"].tolist() == [checkpoint.vocabulary.symbols[i] for i in index]


def test_a_gene_that_the_target_reads_has_the_attribution(checkpoint, adata):
    """With a head that only looks at one gene's vector, that gene has nearly all of the attribution."""
    cells = read_cells(adata, checkpoint)
    frame, _ = attribute(cells, checkpoint, "age", batch_size=3)
    assert (frame["abs_attribution"] > 1e-6).sum() > 5
    with torch.no_grad():  # all genes but one lose their value's influence: their embedding is the same with any value
        checkpoint.model.embedding.register_forward_hook(
            lambda module, inputs, x: torch.where(
                torch.nn.functional.pad(inputs[0] == 7, (2, 0))[..., None], x, x.detach() * 0
            )
        )
    only, _ = attribute(cells, checkpoint, "age", batch_size=3)
    assert only["gene_id"].iloc[0] == checkpoint.vocabulary.gene_ids[7]
    assert only["abs_attribution"].iloc[1:].max() < 1e-6 < only["abs_attribution"].iloc[0]


@pytest.mark.parametrize("residuals", [(), (1,)], ids=["paper", "residual leaf of CL:1"])
def test_a_term_is_read_as_its_log_probability(make, checkpoint, adata, residuals):
    if residuals:
        head = {"column": CELL_TYPE, "loss": "hierarchical", "classes": 3}
        checkpoint = make(heads=[head], ontology=replace(checkpoint.ontology, residuals=residuals))
    cells = read_cells(adata, checkpoint)
    logits = label_logits(cells, checkpoint, CELL_TYPE, batch_size=7)
    log_p = np.log(checkpoint.ontology.node_probabilities(logits))

    class Output:
        label_logits = {CELL_TYPE: torch.from_numpy(logits)}

    for term in ("CL:1", "CL:2", "CL:3"):
        values = read_target(f"{CELL_TYPE}={term}", checkpoint)(Output)
        np.testing.assert_allclose(values, log_p[:, checkpoint.ontology.index[term]], atol=1e-5)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("donor_id=x", "^donor_id: the checkpoint has no such label head"),
        (f"{CELL_TYPE}=CL:9", "CL:9 is no term of the model's ontology$"),
        (CELL_TYPE, "nothing is no term"),
        (f"{CELL_TYPE}=CL:0", "the root's probability is 1 for every cell"),
        (f"{TISSUE}=moon", f"moon is no class of {TISSUE}; one is UBERON:0000178$"),
        ("age=3", "age is a number and has no classes"),
        ("detection=G77", "G77 is no gene of the model's vocabulary$"),
        ("value", "nothing is no gene"),
    ],
)
def test_targets_that_the_model_does_not_have_are_refused(checkpoint, target, message):
    with pytest.raises(WcedError, match=message):
        read_target(target, checkpoint)


def test_expression_needs_the_whole_cell_decoder(make):
    with pytest.raises(WcedError, match="no whole-cell decoder"):
        read_target("detection=G5", make(decoders=["mlm"]))


def test_nothing_to_explain_is_refused(checkpoint, adata):
    with pytest.raises(WcedError, match="there is no cell"):
        attribute(read_cells(adata[:0].copy(), checkpoint), checkpoint, "age")
    with pytest.raises(WcedError, match="does not change when all values become zero"):
        attribute(read_cells(adata[6:].copy(), checkpoint), checkpoint, "age")
