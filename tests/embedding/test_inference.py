import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from wced.embedding import inference
from wced.embedding.inference import label_logits, padded_share, plan, untrained
from wced.embedding.inputs import read_cells
from wced.embedding.pooling import Pooling
from wced.errors import WcedError
from wced.model import WcedModel


def embed(adata, checkpoint, batch_size=4, pooling="cls"):
    return inference.embed(
        read_cells(adata, checkpoint), checkpoint, pooling=Pooling(pooling, checkpoint.model), batch_size=batch_size
    )


@pytest.fixture
def many(checkpoint):
    """Forty cells that express between 0 and 20 genes."""
    rng = np.random.default_rng(3)
    x_ng = rng.poisson(rng.uniform(0, 3, (40, 1)), (40, 20)).astype(np.float32)
    return ad.AnnData(sparse.csr_matrix(x_ng), var=pd.DataFrame(index=checkpoint.vocabulary.gene_ids))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("backbone", ["llama", "bert", "modernbert", "performer"])
def test_neither_neighbours_nor_the_size_of_batches_matter(make, many, backbone, pooling, monkeypatch):
    checkpoint = make(length=15, backbone=backbone)
    alone = embed(many, checkpoint, 1, pooling)  # every cell alone: no padding and no mask
    assert alone.shape == (40, 8) and alone.dtype == np.float32 and np.isfinite(alone).all()
    assert np.abs(alone[:, None] - alone[None]).max(axis=2)[np.triu_indices(40, 1)].min() > 1e-3  # cells are told apart
    embeddings = [embed(many, checkpoint, size, pooling) for size in (3, 7, 100)]
    monkeypatch.setattr(inference, "plan", lambda lengths, *_: np.array_split(np.arange(len(lengths)), 4))
    embeddings.append(embed(many, checkpoint, 10, pooling))  # batches in the order of the cells, with padding
    for embedding in embeddings:
        np.testing.assert_allclose(embedding, alone, rtol=0, atol=1e-5)


def test_order_of_cells_and_genes_does_not_matter(checkpoint, adata):
    moved = adata[::-1, ::-1].copy()
    np.testing.assert_allclose(embed(moved, checkpoint), embed(adata, checkpoint)[::-1], rtol=0, atol=1e-5)


def test_no_cell_has_an_embedding_of_no_rows(checkpoint, adata):
    assert embed(adata[:0].copy(), checkpoint, pooling=["cls", "mean"]).shape == (0, 16)
    assert label_logits(read_cells(adata[:0].copy(), checkpoint), checkpoint, "age", batch_size=2).shape == (0, 1)


def test_the_most_expressed_genes_are_what_the_model_reads(checkpoint):
    x_ng = np.array([[0, 1, 2, 3, 50, 49, 48, 47, 46, 45, 0, 0]], np.float32)
    other = x_ng[:, [3, 10, 1, 2, 4, 5, 6, 7, 8, 9, 0, 11]]  # the same total, but other genes beyond the sixth
    last = x_ng[:, [0, 1, 2, 9, 4, 5, 6, 7, 8, 3, 10, 11]]  # another gene is the sixth
    names = pd.DataFrame(index=checkpoint.vocabulary.gene_ids[:12])
    first, second, third = (embed(ad.AnnData(x, var=names), checkpoint) for x in (x_ng, other, last))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - third).max() > 1e-3


@pytest.fixture
def seen(monkeypatch):
    """Return a list to which the inputs of the encoder are appended."""
    seen, encode = [], WcedModel.encode

    def listening(self, gene, value, length, *rest, **more):
        seen.append({"gene": gene, "value": value, "length": length, **more})
        return encode(self, gene, value, length, *rest, **more)

    monkeypatch.setattr(WcedModel, "encode", listening)
    return seen


def test_zeros_are_included_only_where_the_file_measured_the_gene(make, adata, seen):
    checkpoint = make(input={"length": 20, "zeros": "include"})
    without = adata[:, adata.var_names != checkpoint.vocabulary.gene_ids[3]].copy()
    for cells, first in ((adata, 3), (without, 4)):  # the file has none of the first three genes
        seen.clear()
        embed(cells, checkpoint, len(cells))
        assert len(seen) == 1 and seen[0]["full"]
        assert all(sorted(gene) == list(range(first, 20)) for gene in seen[0]["gene"].tolist())


def test_metadata_and_gene_states_reach_the_encoder_beside_their_cells(make, adata, seen):
    checkpoint = make(
        length=20, gene_states=["perturbed"], metadata=[{"column": "assay_ontology_term_id", "classes": 2}]
    )
    plain = embed(adata, checkpoint)
    adata.obs["assay_ontology_term_id"] = ["EFO:2", "EFO:1", "", "EFO:1", "EFO:2", "", ""]
    adata.obs["perturbed_gene"] = ["", "", "G8", "", "", "G9;G10", "G3"]
    seen.clear()
    marked = embed(adata, checkpoint, 2)
    order = np.concatenate(plan(np.diff(read_cells(adata, checkpoint).cells.offsets), 2, 2**12))
    codes = torch.cat([batch["metadata"] for batch in seen])[:, 0]
    assert codes.tolist() == [[1, 0, -1, 0, 1, -1, -1][i] for i in order]
    states = [
        set(gene[state == 1].tolist())
        for batch in seen
        for gene, state in zip(batch["gene"], batch["gene_state"], strict=True)
    ]
    x_nv = adata.to_df().reindex(columns=checkpoint.vocabulary.gene_ids, fill_value=0).to_numpy()
    expressed = [set(np.flatnonzero(row)) for row in x_nv]
    wanted = [set(), set(), {8}, set(), set(), {9, 10}, {3}]
    assert states == [wanted[i] & expressed[i] for i in order] and any(states)
    changed = np.abs(marked - plain).max(axis=1) > 1e-3
    assert changed.tolist() == [True, True, bool(expressed[2] & {8}), True, True, bool(expressed[5] & {9, 10}), False]


@given(
    st.lists(st.integers(0, 30), max_size=60).map(np.array),
    st.integers(1, 20),
    st.integers(1, 200),
)
def test_a_plan_has_every_row_once_within_its_limits(lengths, batch_size, positions):
    lengths = lengths.astype(np.int64)
    rows = plan(lengths, batch_size, positions)
    assert sorted(np.concatenate([np.empty(0, int), *rows]).tolist()) == list(range(len(lengths)))
    for batch in rows:
        assert 0 < len(batch) <= batch_size
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= positions
    assert (np.diff([lengths[i] for batch in rows for i in batch]) <= 0).all()


def test_cells_of_one_length_are_not_mixed_with_others():
    lengths = np.array([3, 9, 9, 3, 9, 9, 3, 2, 9, 1, 3])
    rows = [lengths[batch].tolist() for batch in plan(lengths, 4, 1000)]
    assert rows == [[9, 9, 9, 9], [9, 3, 3, 3], [3, 2, 1]]
    lengths = np.append(lengths, 9)
    rows = [lengths[batch].tolist() for batch in plan(lengths, 4, 1000)]
    assert rows == [[9, 9, 9, 9], [9, 9], [3, 3, 3, 3], [2, 1]]


def test_the_padded_share_counts_positions(checkpoint, many):
    cells = read_cells(many, checkpoint)  # sequences hold six genes at most
    length_n = np.minimum(np.diff(cells.cells.offsets), 6)
    padded = sum(length_n[rows].max() * len(rows) for rows in plan(length_n, 40, 2**12))
    assert padded_share(cells, checkpoint.model, 40) == pytest.approx(1 - length_n.sum() / padded)
    assert padded_share(cells, checkpoint.model, 1) == 0 and padded > length_n.sum()


def test_logits_are_those_of_the_head(checkpoint, adata):
    cells = read_cells(adata, checkpoint)
    logits = label_logits(cells, checkpoint, "tissue_ontology_term_id", batch_size=3)
    with torch.no_grad():
        expected = checkpoint.model.label_heads[1](torch.from_numpy(embed(adata, checkpoint, pooling="cls:1")))
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    with pytest.raises(WcedError, match=r"^donor_id: the checkpoint has no such label head; it has cell_type"):
        label_logits(cells, checkpoint, "donor_id", batch_size=3)


def test_untrained_is_another_model_of_the_same_shape(checkpoint, adata):
    fresh, again, other = untrained(checkpoint, 1), untrained(checkpoint, 1), untrained(checkpoint, 2)
    shapes = {name: value.shape for name, value in checkpoint.model.state_dict().items()}
    assert {name: value.shape for name, value in fresh.model.state_dict().items()} == shapes
    embeddings = [embed(adata, model) for model in (checkpoint, fresh, again, other)]
    np.testing.assert_array_equal(embeddings[1], embeddings[2])
    assert all(np.abs(embeddings[1] - embeddings[i]).max() > 1e-3 for i in (0, 3))
