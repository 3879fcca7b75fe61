import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from wced.embedding.inference import annotate, cells_of, embed, untrained
from wced.errors import WcedError
from wced.model import WcedConfig, WcedModel
from wced.ontology.cut import OntologyCut
from wced.pretraining.folder import Checkpoint
from wced.shards.vocabulary import Labels, Vocabulary

VOCABULARY = Vocabulary(tuple(f"ENSG{i:02d}" for i in range(20)), tuple(f"G{i}" for i in range(20)))
ONTOLOGY = OntologyCut(("CL:0", "CL:1", "CL:2", "CL:3"), ("cell", "one", "two", "three"), ((), (0,), (0,), (1,)))
HEAD = {"column": "cell_type_ontology_term_id", "loss": "hierarchical", "classes": 2}


def make(heads=(HEAD,), ontology=ONTOLOGY):
    torch.manual_seed(5)
    model = WcedModel(
        WcedConfig(
            vocabulary_size=20, vocabulary_sha256=VOCABULARY.sha256, hidden_size=8, num_hidden_layers=2,
            num_attention_heads=2, intermediate_size=8, value_frequencies=3, decoder_width=4,
            label_heads=list(heads), input={"length": 6},
        )
    )  # fmt: skip
    with torch.no_grad():  # initial weights are so small that cells would hardly differ
        for parameter in model.parameters():
            parameter.mul_(8)
    return Checkpoint(model, VOCABULARY, Labels({}, {}), ontology)


@pytest.fixture
def checkpoint():
    return make()


@pytest.fixture
def adata():
    """Seven cells, genes shuffled among others; the last cell expresses no gene of the vocabulary."""
    rng = np.random.default_rng(6)
    names = [*VOCABULARY.gene_ids[3:], "ENSG_other", "ENSG_another"]
    x_ng = rng.poisson(1.5, (7, len(names))).astype(np.float32)
    x_ng[6, :-2] = 0
    cells = ad.AnnData(sparse.csr_matrix(x_ng), var=pd.DataFrame(index=names))
    cells.obs_names = [f"cell{i}" for i in range(7)]
    return cells[:, rng.permutation(len(names))].copy()


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100], ids="batch_size={}".format)
def test_size_of_batches_does_not_matter(checkpoint, adata, batch_size):
    embedding = embed(adata, checkpoint, batch_size=batch_size)
    assert embedding.shape == (7, 1, 8) and embedding.dtype == np.float32 and np.isfinite(embedding).all()
    np.testing.assert_allclose(embedding, embed(adata, checkpoint, batch_size=2), rtol=1e-4, atol=1e-4)
    assert np.abs(np.diff(embedding[:6, 0], axis=0)).max(axis=1).min() > 1e-3  # and cells are told apart


@pytest.mark.parametrize(
    "form", [sparse.csr_matrix, sparse.csc_matrix, lambda x: x.toarray()], ids=["csr", "csc", "dense"]
)
def test_order_of_cells_and_genes_and_the_form_of_x_do_not_matter(checkpoint, adata, form):
    expected = embed(adata, checkpoint, batch_size=4)
    moved = adata[::-1, ::-1].copy()
    moved.X = form(sparse.csr_matrix(moved.X))
    np.testing.assert_allclose(embed(moved, checkpoint, batch_size=4), expected[::-1], rtol=1e-4, atol=1e-4)


def test_the_most_expressed_genes_are_what_the_model_reads(checkpoint):
    x_ng = np.array([[0, 1, 2, 3, 50, 49, 48, 47, 46, 45, 0, 0]], np.float32)
    other = x_ng[:, [3, 10, 1, 2, 4, 5, 6, 7, 8, 9, 0, 11]]  # the same total, but other genes beyond the sixth
    last = x_ng[:, [0, 1, 2, 9, 4, 5, 6, 7, 8, 3, 10, 11]]  # another gene is the sixth
    names = pd.DataFrame(index=VOCABULARY.gene_ids[:12])
    first, second, third = (embed(ad.AnnData(x, var=names), checkpoint, batch_size=1) for x in (x_ng, other, last))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - third).max() > 1e-3


def test_counts_are_reduced_to_the_vocabulary(adata):
    cells = cells_of(adata, VOCABULARY)
    x_ng = adata[:, [name for name in VOCABULARY.gene_ids if name in adata.var_names]].X.toarray()
    row, gene = np.nonzero(x_ng)
    np.testing.assert_array_equal(cells.gene, gene + 3)
    np.testing.assert_array_equal(cells.count, x_ng[row, gene])


def without_counts(adata):
    adata.X = None


def normalised(adata):
    adata.X = adata.X.log1p()


def negative(adata):
    adata.X.data[0] = -1


def missing(adata):
    adata.X.data[0] = np.nan


def by_symbol(adata):
    adata.var_names = [f"symbol{i}" for i in range(adata.n_vars)]


def repeated(adata):
    adata.var_names = ["ENSG05" if name.startswith("ENSG_") else name for name in adata.var_names]


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_counts, "X: not raw counts"),
        (normalised, "X: not raw counts"),
        (negative, "X: not raw counts"),
        (missing, "X: not raw counts"),
        (by_symbol, "var_names: none is an Ensembl id"),
        (repeated, "var_names: a gene of the model's vocabulary stands there twice"),
    ],
    ids=["no_counts", "normalised", "negative", "nan", "symbols", "repeated"],
)
def test_cells_that_cannot_be_read_are_refused(adata, spoil, message):
    spoil(adata)
    with pytest.raises(WcedError, match=f"^{message}"):
        cells_of(adata, VOCABULARY)


def test_annotation_is_the_most_probable_leaf(checkpoint, adata):
    embedding = embed(adata, checkpoint, batch_size=4)
    frame = annotate(embedding, adata.obs_names, checkpoint)
    with torch.no_grad():
        logits = checkpoint.model.label_heads[0].eval()(torch.from_numpy(embedding[:, 0])).double()
    p_nl = torch.softmax(logits, 1)
    assert list(frame.columns) == ["cell", "predicted_term", "probability"]
    assert frame["cell"].tolist() == adata.obs_names.tolist()
    leaves = np.array(["CL:2", "CL:3"])  # CL:1 has a child
    assert frame["predicted_term"].tolist() == leaves[p_nl.argmax(1)].tolist()
    np.testing.assert_allclose(frame["probability"], p_nl.max(1).values, rtol=1e-6)


def test_a_model_without_the_ontology_cannot_annotate(adata):
    flat = make([{"column": "donor_id", "loss": "focal", "classes": 3}], None)
    with pytest.raises(WcedError, match="no head over the Cell Ontology"):
        annotate(embed(adata, flat, batch_size=4), adata.obs_names, flat)


def test_untrained_is_another_model_of_the_same_shape(checkpoint, adata):
    fresh, again, other = untrained(checkpoint, 1), untrained(checkpoint, 1), untrained(checkpoint, 2)
    shapes = {name: value.shape for name, value in checkpoint.model.state_dict().items()}
    assert {name: value.shape for name, value in fresh.model.state_dict().items()} == shapes
    embeddings = [embed(adata, made, batch_size=4) for made in (checkpoint, fresh, again, other)]
    np.testing.assert_array_equal(embeddings[1], embeddings[2])
    assert all(np.abs(embeddings[1] - embeddings[i]).max() > 1e-3 for i in (0, 3))


def test_zeros_are_included_only_where_the_file_measured_the_gene(adata, monkeypatch):
    checkpoint = make([{"column": "donor_id", "loss": "focal", "classes": 3}], None)
    checkpoint.model.config.input = {"length": 20, "zeros": "include"}
    seen = []
    forward = WcedModel.forward

    def listening(self, gene, *rest, **more):
        seen.append(gene)
        return forward(self, gene, *rest, **more)

    monkeypatch.setattr(WcedModel, "forward", listening)
    without = adata[:, adata.var_names != VOCABULARY.gene_ids[3]].copy()
    for cells, first in ((adata, 3), (without, 4)):  # the file has none of the first three genes
        seen.clear()
        embed(cells, checkpoint, batch_size=len(cells))
        assert all(sorted(gene.tolist()) == list(range(first, 20)) for gene in seen[0])
