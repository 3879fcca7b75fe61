import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import wced.tl
from small_model import HEADS, TISSUE, make_checkpoint
from wced.checkpoint import save
from wced.corpus.reading import open_counts
from wced.embedding import annotation, inference
from wced.embedding.inputs import read_cells
from wced.embedding.pooling import Pooling
from wced.errors import WcedError


@pytest.fixture
def checkpoint():
    return make_checkpoint(heads=[*HEADS, {"column": "donor_id", "loss": "cross_entropy", "classes": 2}])


@pytest.fixture
def adata(checkpoint):
    x_ng = np.random.default_rng(2).poisson(2, (5, 20)).astype(np.float32)
    cells = ad.AnnData(sparse.csr_matrix(x_ng), var=pd.DataFrame(index=checkpoint.vocabulary.symbols))
    cells.obs_names = list("edcba")
    cells.obs["kept"] = range(5)
    cells.layers["counts"] = cells.X.copy()
    return cells


def expected(adata, checkpoint, pooling="cls"):
    cells = read_cells(adata, checkpoint)
    return inference.embed(cells, checkpoint, pooling=Pooling(pooling, checkpoint.model), batch_size=5)


def test_the_embedding_is_in_obsm(checkpoint, adata, capsys):
    before = adata.copy()
    assert wced.tl.embed(adata, checkpoint) is None
    np.testing.assert_array_equal(adata.obsm["X_wced"], expected(before, checkpoint))
    assert adata.obs_names.tolist() == list("edcba") and (adata.X != before.X).nnz == 0
    note = adata.uns["wced"]["X_wced"]
    assert note["params"] == {"pooling": "cls"} and note["input"]["by_symbol"] == 20
    assert "5 cells; 20 of 20 genes" in capsys.readouterr().out


def test_a_copy_leaves_the_original_alone(checkpoint, adata):
    embedded = wced.tl.embed(adata, checkpoint, pooling=["cls", "mean"], key_added="both", copy=True)
    assert "both" not in adata.obsm and "wced" not in adata.uns
    np.testing.assert_array_equal(embedded.obsm["both"], expected(adata, checkpoint, ["cls", "mean"]))
    assert embedded.uns["wced"]["both"]["params"] == {"pooling": "cls+mean"}


def test_without_pooling_the_checkpoint_says_what_is_read(checkpoint, adata):
    checkpoint.model.config.readout, checkpoint.model.config.losses = ["mean"], {"mlm": "mean"}
    wced.tl.embed(adata, checkpoint)
    np.testing.assert_array_equal(adata.obsm["X_wced"], expected(adata, checkpoint, "mean"))
    assert adata.uns["wced"]["X_wced"]["params"] == {"pooling": "mean"}
    wced.tl.embed(adata, checkpoint, pooling="cls")
    assert adata.uns["wced"]["X_wced"]["params"] == {"pooling": "cls (untrained)"}
    adata.obs["batch"] = list("aabba")
    wced.tl.embed(adata, checkpoint, pooling="mean-batch")
    means = pd.DataFrame(adata.obsm["X_wced"]).groupby(adata.obs["batch"].to_numpy()).mean()
    np.testing.assert_allclose(means, 0, atol=1e-5)


def test_cell_types_are_in_obs(checkpoint, adata):
    wced.tl.annotate(adata, checkpoint, layer="counts")
    frame = annotation.annotate(read_cells(adata, checkpoint), adata.obs_names, checkpoint, batch_size=5)
    assert adata.obs.columns.tolist() == [
        "kept", "wced_cell_type_ontology_term_id", "wced_cell_type", "wced_probability",
    ]  # fmt: skip
    assert adata.obs["wced_cell_type_ontology_term_id"].tolist() == frame["predicted_term"].tolist()
    assert adata.obs["wced_cell_type"].tolist() == frame["predicted_label"].tolist()
    assert adata.obs["wced_cell_type"].dtype == "category"
    np.testing.assert_array_equal(adata.obs["wced_probability"], frame["probability"])
    note = adata.uns["wced"]["wced_cell_type_ontology_term_id"]
    assert note["params"] == {"column": "cell_type_ontology_term_id", "method": "leaf_argmax"}
    assert note["input"]["counts"] == "layers['counts']"


def test_other_heads_have_columns_of_their_own(checkpoint, adata):
    for column in (TISSUE, "donor_id", "age"):
        wced.tl.annotate(adata, checkpoint, column=column, key_added="m")
    assert adata.obs.columns.tolist() == [
        "kept", f"m_{TISSUE}", "m_tissue", "m_tissue_probability", "m_donor_id", "m_donor_id_probability", "m_age",
    ]  # fmt: skip
    assert set(adata.obs["m_tissue"]) <= {"blood", "lung", "here"} and set(adata.obs["m_donor_id"]) <= {"d:1", "d:2"}
    assert sorted(adata.uns["wced"]) == ["m_age", "m_donor_id", f"m_{TISSUE}"]


def test_a_checkpoint_may_be_a_folder_and_the_result_can_be_saved(checkpoint, adata, tmp_path):
    (tmp_path / "model").mkdir()
    save(checkpoint, tmp_path / "model")
    wced.tl.embed(adata, tmp_path / "model")
    wced.tl.annotate(adata, str(tmp_path / "model"))
    np.testing.assert_allclose(adata.obsm["X_wced"], expected(adata, checkpoint), atol=1e-6)
    adata.write_h5ad(tmp_path / "a.h5ad")
    read = ad.read_h5ad(tmp_path / "a.h5ad")
    assert read.uns["wced"]["X_wced"]["checkpoint"] == str(tmp_path / "model")
    assert read.uns["wced"]["X_wced"]["input"]["gene_share"] == 1


def test_cells_may_stay_on_disk(checkpoint, adata, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    copied = wced.tl.embed(backed, checkpoint, copy=True)
    assert not copied.isbacked and "X_wced" not in backed.obsm
    wced.tl.embed(backed, checkpoint)
    for cells in (copied, backed):
        np.testing.assert_array_equal(cells.obsm["X_wced"], expected(adata, checkpoint))
    backed.file.close()


def test_a_refusal_writes_nothing(checkpoint, adata):
    with pytest.raises(WcedError, match=r"^pooling: nonsense is none of"):
        wced.tl.embed(adata, checkpoint, pooling="nonsense")
    with pytest.raises(WcedError, match=r"^layers: there is no none"):
        wced.tl.annotate(adata, checkpoint, layer="none")
    for note in ("wced 0.1", 3, ["a"]):
        adata.uns["wced"] = note
        with pytest.raises(WcedError, match=r"^uns\['wced'\] is (str|int|list) and no mapping"):
            wced.tl.embed(adata, checkpoint)
        del adata.uns["wced"]
    assert not adata.obsm and not adata.uns and adata.obs.columns.tolist() == ["kept"]


def test_embeddings_of_log1p_values_of_some_genes_are_those_of_their_counts(checkpoint, adata, tmp_path):
    log = adata.copy()
    sc.pp.normalize_total(log, target_sum=1e4)
    sc.pp.log1p(log)
    log[:, 3:].write_h5ad(tmp_path / "log.h5ad")
    counts = sparse.vstack(list(open_counts(tmp_path / "log.h5ad", values="log1p_10k").counts()))
    restored = ad.AnnData(sparse.csr_matrix(counts), var=adata.var[3:])
    assert (adata.X[:, 3:] != restored.X).nnz == 0
    np.testing.assert_array_equal(expected(restored, checkpoint), expected(adata[:, 3:], checkpoint))


def test_importing_it_is_light():
    code = "import sys, wced.tl; print({'torch', 'anndata', 'pandas', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
