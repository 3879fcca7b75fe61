import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from wced.corpus.published import kind
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
