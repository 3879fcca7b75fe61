import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from wced.corpus.published import counts_from_log1p

COUNTS = np.random.default_rng(0).negative_binomial(0.3, 0.02, (60, 300)).astype(np.float32)
COUNTS[:, 0] += 1


def scanpys(counts, target=1e4):
    adata = ad.AnnData(sparse.csr_matrix(counts))
    sc.pp.normalize_total(adata, target_sum=target)
    sc.pp.log1p(adata)
    return adata.X


def seurats(counts):
    return sparse.csr_matrix(np.log1p(1e4 * counts.astype(np.float64) / counts.sum(axis=1, keepdims=True)))


@pytest.mark.parametrize("normalise", [scanpys, seurats])
@pytest.mark.parametrize("genes", [300, 50, 8], ids=lambda n: f"{n} genes")
def test_counts_of_any_genes_are_recovered(normalise, genes):
    counts_ng, refused = counts_from_log1p(normalise(COUNTS)[:, :genes])
    assert refused is None and counts_ng.dtype == np.float64
    expected = COUNTS[:, :genes]
    factor_n = expected.max(axis=1) / counts_ng.toarray().max(axis=1)  # 2, say, where all counts and the total are even
    assert (factor_n == 1).mean() > 0.95 and (factor_n == np.rint(factor_n)).all()
    np.testing.assert_array_equal(counts_ng.toarray() * factor_n[:, None], expected)


def test_half_precision_recovers_counts_as_well_as_it_can():
    stored = scanpys(np.minimum(COUNTS, 100)).toarray().astype(np.float16)
    counts_ng, refused = counts_from_log1p(sparse.csr_matrix(stored.astype(np.float32)))
    assert refused is None
    np.testing.assert_allclose(counts_ng.toarray(), np.minimum(COUNTS, 100), atol=1.01, rtol=0.02)


def test_large_counts_beside_small_ones_are_exact():
    """Of cells as deep as Smart-seq2's."""
    rng = np.random.default_rng(1)
    counts = np.floor(np.exp(rng.uniform(0, 13, (20, 400)))).astype(np.float32)
    counts[:, 0] = 1
    counts_ng, _ = counts_from_log1p(scanpys(counts))
    np.testing.assert_array_equal(counts_ng.toarray(), counts)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([2, 3, 0, 7], [2, 3, 0, 7]), ([4, 6, 0, 8], [4, 6, 0, 8]), ([5, 0, 0, 0], [5, 0, 0, 0]), ([0] * 4, [0] * 4)],
    ids=["coprime", "common factor", "one gene", "none"],
)
def test_the_smallest_need_not_be_one(counts, expected):
    cell = np.array([[*counts, 1000, 1]], np.float32)  # 1 makes the total 1020, 1019, 1006: of no such factor
    counts_ng, refused = counts_from_log1p(sparse.csr_matrix(scanpys(cell)[:, :4]))
    assert refused is None and counts_ng.toarray()[0].tolist() == expected


def test_cells_are_apart():
    """An empty cell, one whose counts are given back at once, and one that takes longer."""
    x = sparse.vstack(
        [scanpys(COUNTS[:2])[:, :5], sparse.csr_matrix((1, 5)), scanpys(np.array([[77, 200, 301, 9, 1]]))]
    )
    x = sparse.csr_matrix(x)
    x.data[x.indptr[3] + 3 :] = 0  # explicit zeros
    counts_ng, refused = counts_from_log1p(x)
    assert refused is None
    np.testing.assert_array_equal(counts_ng.toarray()[[0, 1, 3]], [*COUNTS[:2, :5], [77, 200, 301, 0, 0]])


@pytest.mark.parametrize(
    "spoil",
    [lambda x: x / np.log(2), np.sqrt, lambda x: np.round(x, 2), lambda x: x + 0.01, lambda x: x * x],
    ids=["log2", "root", "rounded", "shifted", "squared"],
)
def test_values_of_no_counts_are_refused_with_the_first_cell(spoil):
    x = scanpys(COUNTS)
    x.data = spoil(x.data.astype(np.float64)).astype(np.float32)
    assert counts_from_log1p(x)[1] is not None
    good = scanpys(COUNTS)
    assert counts_from_log1p(sparse.csr_matrix(sparse.vstack([good[:2], x[:1], good[3:]])))[1] == 2
