import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

from wced.corpus.published import counts_from_log1p, kind
from wced.corpus.reading import of_anndata, open_counts
from wced.errors import WcedError

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(1.5, (30, 40)).astype(np.float32)
SCALED = COUNTS / COUNTS.sum(axis=1, keepdims=True) * 1e4


KINDS = {
    "raw": (COUNTS, "raw counts"),
    "log": (np.log1p(SCALED), "log-normalised values (expm1 of each cell adds up to 10000)"),
    "log of some genes": (np.log1p(SCALED)[:, :20], "values that look log-normalised"),
    "normalised": (SCALED, "normalised counts (each cell adds up to 10000)"),
    "fractions": (COUNTS * 100.51, "values that are not whole"),
    "corrected counts": (np.vstack([COUNTS, np.full(40, 0.5)]), "whole numbers but for 4.1% of them"),
    "scaled": (COUNTS - COUNTS.mean(axis=0), "negative values, as scaled data does"),
    "binary": ((COUNTS > 0).astype(float), "zeros and ones"),
    "nan": (np.full((2, 2), np.nan), "values that are not finite"),
    "zeros": (np.zeros((3, 3)), "nothing"),
}


@pytest.mark.parametrize(("matrix", "words"), KINDS.values(), ids=KINDS)
def test_kind_of_values(matrix, words):
    assert kind(sparse.csr_matrix(matrix)) == words


@pytest.mark.parametrize("store", [np.asarray, sparse.csr_matrix, sparse.csc_matrix], ids=["dense", "csr", "csc"])
@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (["layers/counts"], "; layers/counts looks raw: set counts to layers/counts"),
        (["raw"], "; raw looks raw: set counts to raw"),
        (["raw", "layers/counts"], "; raw and layers/counts look raw: set counts to raw"),
        ([], "; no other matrix of the file looks raw; wced source gives counts back, with values log1p_10k"),
    ],
    ids=["layer", "raw", "both", "nowhere"],
)
def test_where_raw_counts_are(tmp_path, store, raw, words):
    adata = ad.AnnData(store(np.log1p(SCALED)), obs=pd.DataFrame(index=[f"c{i}" for i in range(30)]))
    adata.layers["scaled"] = store(SCALED)
    if "layers/counts" in raw:
        adata.layers["counts"] = store(COUNTS)
    if "raw" in raw:
        adata.raw = ad.AnnData(store(COUNTS), obs=adata.obs)
    adata.write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(WcedError) as refused:
        list(open_counts(tmp_path / "x.h5ad").counts())
    holds = "not a whole number; X holds log-normalised values (expm1 of each cell adds up to 10000)"
    assert str(refused.value).endswith(holds + words)
    for backed in (None, "r"):
        with pytest.raises(WcedError) as refused:
            list(of_anndata(ad.read_h5ad(tmp_path / "x.h5ad", backed=backed)).counts())
        as_anndata = words.replace("layers/counts looks", "layers['counts'] looks").replace("raw looks", "raw.X looks")
        as_anndata = as_anndata.replace("raw and layers/counts", "layers['counts'] and raw.X")
        as_anndata = as_anndata.replace("set counts to layers/counts", layer := "set layer to counts (--layer counts)")
        as_anndata = as_anndata.replace("set counts to raw", layer if len(raw) > 1 else "set use_raw (--raw)")
        assert str(refused.value).endswith(holds + as_anndata)


def test_estimated_counts_are_to_be_rounded():
    """As kallisto, RSEM and SoupX write them; small ones are told from log-normalised values of some genes."""
    for x in (
        COUNTS + RNG.uniform(0, 0.4, COUNTS.shape) * (COUNTS > 1),
        COUNTS * 7.3 + RNG.uniform(0, 1, COUNTS.shape),
    ):
        with pytest.raises(WcedError, match=r"whole number.*; round them if they are estimated counts \(kallisto"):
            list(of_anndata(ad.AnnData(sparse.csr_matrix(x))).counts())


DEEP = np.random.default_rng(0).negative_binomial(0.3, 0.02, (60, 300)).astype(np.float32)
DEEP[:, 0] += 1


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
    counts_ng, refused = counts_from_log1p(normalise(DEEP)[:, :genes])
    assert refused is None and counts_ng.dtype == np.float64
    expected = DEEP[:, :genes]
    factor_n = expected.max(axis=1) / counts_ng.toarray().max(axis=1)  # 2, say, where all counts and the total are even
    assert (factor_n == 1).mean() > 0.95 and (factor_n == np.rint(factor_n)).all()
    np.testing.assert_array_equal(counts_ng.toarray() * factor_n[:, None], expected)


def test_half_precision_recovers_counts_as_well_as_it_can():
    stored = scanpys(np.minimum(DEEP, 100)).toarray().astype(np.float16)
    counts_ng, refused = counts_from_log1p(sparse.csr_matrix(stored.astype(np.float32)))
    assert refused is None
    np.testing.assert_allclose(counts_ng.toarray(), np.minimum(DEEP, 100), atol=1.01, rtol=0.02)


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
    x = sparse.vstack([scanpys(DEEP[:2])[:, :5], sparse.csr_matrix((1, 5)), scanpys(np.array([[77, 200, 301, 9, 1]]))])
    x = sparse.csr_matrix(x)
    x.data[x.indptr[3] + 3 :] = 0  # explicit zeros
    counts_ng, refused = counts_from_log1p(x)
    assert refused is None
    np.testing.assert_array_equal(counts_ng.toarray()[[0, 1, 3]], [*DEEP[:2, :5], [77, 200, 301, 0, 0]])


@pytest.mark.parametrize(
    "spoil",
    [lambda x: x / np.log(2), np.sqrt, lambda x: np.round(x, 2), lambda x: x + 0.01, lambda x: x * x],
    ids=["log2", "root", "rounded", "shifted", "squared"],
)
def test_values_of_no_counts_are_refused_with_the_first_cell(spoil):
    x = scanpys(DEEP)
    x.data = spoil(x.data.astype(np.float64)).astype(np.float32)
    assert counts_from_log1p(x)[1] is not None
    good = scanpys(DEEP)
    assert counts_from_log1p(sparse.csr_matrix(sparse.vstack([good[:2], x[:1], good[3:]])))[1] == 2
