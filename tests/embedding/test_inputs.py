import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from wced.corpus import matrices
from wced.embedding.inputs import read_cells
from wced.errors import WcedError


def dense(cells):
    """Return the counts, cells × vocabulary, of what was read."""
    x_nv = np.zeros((len(cells), len(cells.measured_v)), np.int64)
    for i, (begin, end) in enumerate(zip(cells.cells.offsets[:-1], cells.cells.offsets[1:], strict=True)):
        gene = cells.cells.gene[begin:end]
        assert (np.diff(gene.astype(int)) > 0).all() and (cells.cells.count[begin:end] > 0).all()
        x_nv[i, gene] = cells.cells.count[begin:end]
    return x_nv


def expected(adata, vocabulary):
    """Return the same from the AnnData, by names."""
    x_ng = np.asarray(adata.X.todense()) if sparse.issparse(adata.X) else adata.X
    frame = pd.DataFrame(x_ng.T, index=adata.var_names).groupby(level=0).sum()
    return frame.reindex(vocabulary.gene_ids, fill_value=0).to_numpy().T


@pytest.mark.parametrize("block", [1, 60, 2**22])
@pytest.mark.parametrize(
    "form",
    [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, lambda x: x.toarray(), lambda x: x.astype(int)],
    ids=["csr", "csc", "array", "dense", "int"],
)
def test_counts_are_reduced_to_the_vocabulary(checkpoint, adata, form, block, monkeypatch):
    monkeypatch.setattr(matrices, "BLOCK", block)
    wanted = expected(adata, checkpoint.vocabulary)
    adata.X = form(adata.X)
    cells = read_cells(adata, checkpoint)
    np.testing.assert_array_equal(dense(cells), wanted)
    assert cells.measured_v.tolist() == [False] * 3 + [True] * 17
    assert cells.cells.soma_joinid.tolist() == list(range(7))
    total = np.asarray(adata.X.sum())
    assert cells.facts["count_share"] == pytest.approx(wanted.sum() / total) and cells.facts["empty_cells"] == 1


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, lambda x: x.toarray()], ids=["r", "c", "dense"])
def test_a_file_may_stay_on_disk(checkpoint, adata, form, tmp_path, monkeypatch):
    monkeypatch.setattr(matrices, "BLOCK", 40)
    adata.raw = adata.copy()
    adata.layers["counts"] = adata.X.copy()
    wanted = expected(adata, checkpoint.vocabulary)
    adata.X = form(adata.X)
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    for where in ({}, {"layer": "counts"}, {"use_raw": True}):
        np.testing.assert_array_equal(dense(read_cells(backed, checkpoint, **where)), wanted)
    assert backed.isbacked
    backed.file.close()


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_columns_of_one_gene_are_added_up(checkpoint, adata):
    names = checkpoint.vocabulary.gene_ids
    adata.var_names = [names[5] if name.startswith("ENSG_") else name for name in adata.var_names]
    cells = read_cells(adata, checkpoint)
    np.testing.assert_array_equal(dense(cells), expected(adata, checkpoint.vocabulary))
    assert cells.facts["duplicates"] == 2 and cells.facts["genes"] == 17 and cells.facts["count_share"] == 1
    assert "2 duplicates added up" in cells.summary


def test_entries_of_one_gene_are_added_up(checkpoint, adata):
    wanted = read_cells(adata, checkpoint)
    x_ng, twice = adata.X, adata.copy()
    value = np.column_stack([np.ones_like(x_ng.data), x_ng.data - 1]).ravel()
    twice.X = sparse.csr_matrix((value, np.repeat(x_ng.indices, 2), 2 * x_ng.indptr), x_ng.shape)
    found = read_cells(twice, checkpoint)
    np.testing.assert_array_equal(dense(found), dense(wanted))
    assert found.facts == wanted.facts and twice.X.nnz == 2 * x_ng.nnz


def test_antibodies_are_no_genes(checkpoint, adata):
    wanted = read_cells(adata, checkpoint)
    proteins = ad.AnnData(adata.X[:, :5] * 100, adata.obs, adata.var[:5].copy())
    proteins.var["feature_types"], adata.var["feature_types"] = "Antibody Capture", "Gene Expression"
    both = ad.concat([proteins, adata], axis="var", merge="first")
    found = read_cells(both, checkpoint)
    np.testing.assert_array_equal(dense(found), dense(wanted))
    assert found.facts == {**wanted.facts, "left_out": "5 Antibody Capture"}
    assert "; left out features that are no genes: 5 Antibody Capture" in found.summary


def test_layers_and_raw_have_counts_and_genes_of_their_own(checkpoint, adata):
    wanted = expected(adata, checkpoint.vocabulary)
    adata.raw = adata.copy()
    adata = adata[:, :4].copy()
    adata.layers["raw_counts"] = adata.X.copy()
    adata.X = adata.X.log1p()
    np.testing.assert_array_equal(dense(read_cells(adata, checkpoint, use_raw=True)), wanted)
    adata.X, normalised = adata.layers["raw_counts"], adata.X
    narrow = expected(adata, checkpoint.vocabulary)
    adata.X = normalised
    np.testing.assert_array_equal(dense(read_cells(adata, checkpoint, layer="raw_counts")), narrow)
    with pytest.raises(
        WcedError, match=r"^X: the count of .*; layers\['raw_counts'\] and raw.X look raw: set layer to raw_c"
    ):
        read_cells(adata, checkpoint)
    with pytest.raises(WcedError, match=r"^layers: there is no nothing; there are raw_counts$"):
        read_cells(adata, checkpoint, layer="nothing")
    with pytest.raises(WcedError, match="only one of them"):
        read_cells(adata, checkpoint, layer="raw_counts", use_raw=True)
    with pytest.raises(WcedError, match=r"^raw: the AnnData has none"):
        read_cells(ad.AnnData(adata.layers["raw_counts"], var=adata.var), checkpoint, use_raw=True)


def test_how_genes_fitted_is_said(checkpoint, adata):
    cells = read_cells(adata, checkpoint)
    known = [not name.startswith("ENSG_") for name in adata.var_names]
    share = adata.X[:, known].sum() / adata.X.sum()
    assert cells.facts == {
        "counts": "X", "gene_names": "var_names", "vocabulary": 20, "genes": 17, "gene_share": 0.85, "by_symbol": 0,
        "duplicates": 0, "count_share": pytest.approx(share), "empty_cells": 1,
    }  # fmt: skip
    assert cells.summary == (
        f"7 cells; 17 of 20 genes of the vocabulary (85.0%) with {share:.1%} of the counts, by var_names; "
        "1 cells without any of these genes"
    )


def test_counts_that_are_none_are_said_to_be(checkpoint, adata):
    adata.uns["counts_made_of"] = "log1p_10k"
    cells = read_cells(adata, checkpoint)
    assert cells.facts["counts_made_of"] == "log1p_10k" and "; counts made of log1p_10k" in cells.summary


def test_too_few_genes_are_refused_unless_allowed(checkpoint, adata):
    one = adata[:, [name in checkpoint.vocabulary.gene_ids[:4] for name in adata.var_names]].copy()
    with pytest.raises(WcedError, match=r"^var_names: 1 of the model's 20 genes are there \(5.0%\), fewer than the 10"):
        read_cells(one, checkpoint)
    assert read_cells(one, checkpoint, min_gene_share=0.05).facts["genes"] == 1


def without_counts(adata):
    adata.X = None


def normalised(adata):
    adata.X = adata.X.log1p()


def negative(adata):
    adata.X.data[0] = -1


def missing(adata):
    adata.X.data[0] = np.nan


def infinite(adata):
    adata.X.data[-1] = np.inf


def too_large(adata):
    adata.X.data[-1] = 2**32


def binarised(adata):
    adata._inplace_subset_obs(np.tile(np.arange(7), 30))
    adata.X.data[:] = 1


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_counts, "^has no X, where counts were expected; no other matrix"),
        (
            normalised,
            "^X: the count of gene .* is not a whole number; X holds values that look log-normalised; no other",
        ),
        (negative, "^X: the count of gene .* in cell cell.* is -1, which is negative"),
        (missing, "^X: the count of gene .* is nan, which is not a finite number$"),
        (infinite, "^X: the count of gene .* is inf, which is not a finite number$"),
        (too_large, "^X: the count of gene .* which is larger than 16777216$"),
        (binarised, "^X: holds zeros and ones only, .* are no counts; X holds zeros and ones; no other matrix"),
    ],
)
@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_what_is_no_count_is_refused(checkpoint, adata, spoil, words):
    spoil(adata)
    with pytest.raises(WcedError, match=words):
        read_cells(adata, checkpoint)


def test_what_is_no_anndata_is_refused(checkpoint):
    with pytest.raises(WcedError, match=r"^expected an AnnData, not str"):
        read_cells("cells.h5ad", checkpoint)


def test_counts_of_genes_that_the_model_does_not_know_are_said(checkpoint, adata):
    adata.X[0, list(adata.var_names).index("ENSG_other")] = 1000
    cells = read_cells(adata, checkpoint)
    assert cells.facts["count_share"] < 0.8 and cells.facts["not_known"].startswith("ENSG_other (")
    assert "; warning: many counts are of genes that the model does not know: ENSG_other (" in cells.summary


def test_no_cell_is_no_error(checkpoint, adata):
    cells = read_cells(adata[:0].copy(), checkpoint)
    assert len(cells) == 0 and cells.facts["count_share"] == 0 and cells.facts["genes"] == 17
    assert cells.cells.gene.dtype == np.uint16 and cells.cells.count.dtype == np.uint32


def test_metadata_of_the_model_come_from_obs(make, adata):
    columns = ["assay_ontology_term_id", "tissue_ontology_term_id"]
    checkpoint = make(metadata=[{"column": columns[0], "classes": 2}, {"column": columns[1], "classes": 3}])
    adata.obs[columns[0]] = pd.Categorical(["EFO:2", "EFO:1", "EFO:3", "EFO:1", "unknown", "EFO:2", "EFO:2"])
    cells = read_cells(adata, checkpoint)
    assert cells.metadata_nm[:, 0].tolist() == [1, 0, -1, 0, -1, 1, 1]
    assert cells.metadata_nm.dtype == np.int64 and (cells.metadata_nm[:, 1] == -1).all()
    assert cells.facts["unknown"] == {columns[0]: 2, columns[1]: 7}
    assert f"{columns[0]} unknown for 2 cells" in cells.summary
    assert read_cells(adata, make()).metadata_nm is None


def test_perturbed_genes_come_from_obs(make, adata):
    checkpoint = make(gene_states=["perturbed"])
    ids = checkpoint.vocabulary.gene_ids
    assert (read_cells(adata, checkpoint).cells.perturbed == -1).all()
    adata.obs["perturbed_gene"] = ["", "G4", f"{ids[5]}.2;G3", "control", "no gene", "unknown", "G4"]
    cells = read_cells(adata, checkpoint)
    named = [sorted(set(row) - {-1}) for row in cells.cells.perturbed.tolist()]
    assert named == [[], [4], [3, 5], [], [], [], [4]] and cells.facts["perturbed_cells"] == 3
    assert read_cells(adata, make()).cells.perturbed is None
