import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from wced.corpus import matrices
from wced.embedding.inputs import match_genes, read_cells, symbols_of
from wced.errors import WcedError
from wced.shards.vocabulary import Vocabulary


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
    x_ng, split = adata.X, adata.copy()
    value = np.column_stack([np.ones_like(x_ng.data), x_ng.data - 1]).ravel()
    split.X = sparse.csr_matrix((value, np.repeat(x_ng.indices, 2), 2 * x_ng.indptr), x_ng.shape)
    cells = read_cells(split, checkpoint)
    np.testing.assert_array_equal(dense(cells), dense(wanted))
    assert cells.facts == wanted.facts and split.X.nnz == 2 * x_ng.nnz


def test_antibodies_are_no_genes(checkpoint, adata):
    wanted = read_cells(adata, checkpoint)
    proteins = ad.AnnData(adata.X[:, :5] * 100, adata.obs, adata.var[:5].copy())
    proteins.var["feature_types"], adata.var["feature_types"] = "Antibody Capture", "Gene Expression"
    both = ad.concat([proteins, adata], axis="var", merge="first")
    cells = read_cells(both, checkpoint)
    np.testing.assert_array_equal(dense(cells), dense(wanted))
    assert cells.facts == {**wanted.facts, "left_out": "5 Antibody Capture"}
    assert "; left out features that are no genes: 5 Antibody Capture" in cells.summary


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
    without_raw = ad.AnnData(adata.layers["raw_counts"], var=adata.var)
    for cells, options, message in (
        (adata, {}, r"^X: the count of .*; layers\['raw_counts'\] and raw.X look raw: set layer to raw_c"),
        (adata, {"layer": "nothing"}, r"^layers: there is no nothing; there are raw_counts$"),
        (adata, {"layer": "raw_counts", "use_raw": True}, "only one of them"),
        (without_raw, {"use_raw": True}, r"^raw: the AnnData has none"),
    ):
        with pytest.raises(WcedError, match=message):
            read_cells(cells, checkpoint, **options)


def test_the_summary_says_how_genes_fitted(checkpoint, adata):
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


def test_the_summary_says_that_counts_were_made_of_other_values(checkpoint, adata):
    adata.uns["counts_made_of"] = "log1p_10k"
    cells = read_cells(adata, checkpoint)
    assert cells.facts["counts_made_of"] == "log1p_10k" and "; counts made of log1p_10k" in cells.summary


def test_too_few_genes_are_refused_unless_allowed(checkpoint, adata):
    one = adata[:, [name in checkpoint.vocabulary.gene_ids[:4] for name in adata.var_names]].copy()
    with pytest.raises(WcedError, match=r"^var_names: 1 of the model's 20 genes are there \(5.0%\), fewer than the 10"):
        read_cells(one, checkpoint)
    assert read_cells(one, checkpoint, min_gene_share=0.05).facts["genes"] == 1


def spoil(adata, kind):
    values = {"negative": (0, -1), "missing": (0, np.nan), "infinite": (-1, np.inf), "too large": (-1, 2**32)}
    if kind == "without counts":
        adata.X = None
    elif kind == "normalised":
        adata.X = adata.X.log1p()
    elif kind == "binarised":
        adata._inplace_subset_obs(np.tile(np.arange(7), 30))
        adata.X.data[:] = 1
    else:
        at, value = values[kind]
        adata.X.data[at] = value


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("without counts", "^has no X, where counts were expected; no other matrix"),
        (
            "normalised",
            "^X: the count of gene .* is not a whole number; X holds values that look log-normalised; no other",
        ),
        ("negative", "^X: the count of gene .* in cell cell.* is -1, which is negative"),
        ("missing", "^X: the count of gene .* is nan, which is not a finite number$"),
        ("infinite", "^X: the count of gene .* is inf, which is not a finite number$"),
        ("too large", "^X: the count of gene .* which is larger than 16777216$"),
        ("binarised", "^X: holds zeros and ones only, .* are no counts; X holds zeros and ones; no other matrix"),
    ],
)
@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_what_is_no_count_is_refused(checkpoint, adata, kind, message):
    spoil(adata, kind)
    with pytest.raises(WcedError, match=message):
        read_cells(adata, checkpoint)


def test_what_is_no_anndata_is_refused(checkpoint):
    with pytest.raises(WcedError, match=r"^expected an AnnData, not str"):
        read_cells("cells.h5ad", checkpoint)


def test_the_summary_warns_of_genes_that_the_model_does_not_know(checkpoint, adata):
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


IDS = tuple(f"ENSG0000000000{i}" for i in range(6))
VOCABULARY = Vocabulary(IDS, ("A", "B", "C", "SAME", "SAME", ""))


def var(names, **columns):
    return pd.DataFrame(columns, index=pd.Index(names, dtype=object))


@pytest.mark.parametrize(
    ("var", "source", "ids", "by_symbol"),
    [
        (var([IDS[2], "x", IDS[0]]), "var_names", [2, -1, 0], 0),
        (var([f"{IDS[2]}.14", f"{IDS[0]}.1_PAR_Y"]), "var_names", [2, 0], 0),
        (var(["B", "A", "a"]), "var_names", [1, 0, -1], 2),
        (var(["B", IDS[1], IDS[0]]), "var_names", [1, 1, 0], 1),
        (var(["SAME", "", "A"]), "var_names", [-1, -1, 0], 1),
        (var(["A", "B", "C"], gene_ids=["x", f"{IDS[3]}.2", None]), "var['gene_ids']", [-1, 3, -1], 0),
        (var(["A", "B"], symbol=["B", "A"], feature_name=["C", "x"]), "var_names", [0, 1], 2),
        (var(["0", "1"], feature_name=pd.Categorical(["B", "C"])), "var['feature_name']", [1, 2], 2),
        (var(["0", "1"], unusual=["B", "C"], ensembl_id=[None, IDS[1]]), "var['ensembl_id']", [-1, 1], 0),
    ],
    ids=["ids", "versions", "symbols", "mixed", "ambiguous", "ids_before_symbols", "equals", "categorical", "missing"],
)
def test_genes_are_found_where_most_of_them_are(var, source, ids, by_symbol):
    match = match_genes(var, VOCABULARY)
    assert (match.source, match.id_g.tolist(), match.by_symbol) == (source, ids, by_symbol)
    assert match.genes == len(set(ids) - {-1})


def test_a_column_can_be_named():
    both = var([IDS[0], IDS[1]], unusual=["C", "x"])
    match = match_genes(both, VOCABULARY, "unusual")
    assert (match.source, match.id_g.tolist()) == ("var['unusual']", [2, -1])
    with pytest.raises(WcedError, match=r"^var: there is no column none; there are unusual$"):
        match_genes(both, VOCABULARY, "none")


def test_no_gene_at_all_is_refused():
    with pytest.raises(WcedError, match=r"^var_names, var\['symbol'\]: none is an Ensembl id or a symbol"):
        match_genes(var(["x", "SAME"], symbol=["y", ""]), VOCABULARY)


def test_a_symbol_of_several_genes_is_of_none():
    names = symbols_of(VOCABULARY)
    assert names.ids_of(["A", "SAME", "", "other"]).tolist() == [IDS[0], "", "", ""]
    assert names.ambiguous == {"SAME"}
