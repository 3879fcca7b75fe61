import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from generated import (
    CD4,
    MITOCHONDRIAL,
    NAMES,
    genes,
)
from wced import tables
from wced.corpus.datasets import Dataset
from wced.corpus.harmonise import OBS_COLUMNS, harmonise, write
from wced.errors import WcedError


def run(row, table, names=None, **options):
    labels = None if row.labels is None else row.labels.path
    return harmonise(row, row.file.path, table, labels=labels, cell_type_names=names, **options)


@pytest.mark.parametrize("name", ["blood_symbols", "spleen_ensembl", "lung_smartseq", "held_blood", "held_lung"])
def test_every_dataset_meets_the_contract(rows, table, names, name):
    adata, qc = run(rows[name], table, names)
    assert tuple(adata.obs.columns) == OBS_COLUMNS
    assert list(adata.var.columns) == ["feature_name", "feature_length", "feature_type"]
    assert adata.var_names.is_monotonic_increasing and set(adata.var_names) <= set(table["gene_id"])
    assert isinstance(adata.X, sparse.csr_matrix) and adata.X.dtype == np.float32 and adata.X.has_canonical_format
    assert (adata.X.data > 0).all() and (adata.X.data == np.rint(adata.X.data)).all()
    assert not adata.obs.drop(columns="mt_fraction").isna().any().any()
    assert set(adata.uns) == {"title", "citation"}
    assert adata.obs_names.is_unique and adata.obs["observation_joinid"].is_unique
    row = tables.checked(qc, tables.SOURCES_QC).iloc[0]
    assert row["cells_in_file"] == row["cells_dropped_filter"] + row["cells_dropped_empty"] + row["cells"]
    dropped = row["genes_dropped_zero"] + row["genes_unmapped"] + row["genes_merged"]
    assert row["genes_in_file"] == dropped + row["genes"]
    assert (row["cells"], row["genes"]) == adata.shape


def test_symbols_become_ensembl_ids(rows, table):
    adata, qc = run(rows["blood_symbols"], table)
    published = ad.read_h5ad(rows["blood_symbols"].file.path)
    frame = genes()
    unknown = frame["gene_id"][5]
    assert unknown not in adata.var_names
    expected = published[adata.obs_names].X[:, frame.index != 5]
    assert (expected != adata.X).nnz == 0
    row = qc.iloc[0]
    assert (row["genes_unmapped"], row["cells_dropped_empty"]) == (1, 2)
    lost = published.X[:, 5].sum() / published.X.sum()
    assert row["counts_unmapped_fraction"] == pytest.approx(lost)


def test_versions_raw_names_and_constants(rows, table):
    adata, _ = run(rows["spleen_ensembl"], table)
    published = ad.read_h5ad(rows["spleen_ensembl"].file.path)
    assert (adata.X != published.raw.X).nnz == 0
    assert adata.obs["cell_type"].astype(str).tolist() == published.obs["name"].astype(str).tolist()
    first = adata.obs.iloc[0]
    assert (first["tissue_ontology_term_id"], first["tissue_general"]) == ("UBERON:0002106", "spleen")
    assert (first["sex_ontology_term_id"], first["sex"]) == ("PATO:0000383", "female")
    assert (first["donor_id"], first["batch"], first["development_stage"]) == ("s1", "spleen_ensembl", "unknown")


def test_labels_of_a_second_file(rows, table, names):
    adata, qc = run(rows["lung_smartseq"], table, names)
    given = ad.read_h5ad(rows["lung_smartseq"].labels.path).obs["name"].astype(str)
    known = {name.upper(): name for term, name in NAMES.items() if name.upper() in names}
    expected = given.map(known).reindex(adata.obs_names).fillna("unknown")
    assert adata.obs["cell_type"].astype(str).tolist() == expected.tolist()
    assert qc["cells_unlabelled"].item() == (expected == "unknown").sum() > 10
    assert qc["cells_dropped_filter"].item() == 5
    assert adata.obs["mt_fraction"].isna().all(), "no mitochondrial gene was measured"


def test_statistics_of_counts(rows, table):
    adata, _ = run(rows["spleen_ensembl"], table)
    x = adata.X.toarray().astype(np.float64)
    mitochondrial = adata.var["feature_name"].isin(MITOCHONDRIAL).to_numpy()
    np.testing.assert_allclose(adata.obs["mt_fraction"], x[:, mitochondrial].sum(1) / x.sum(1))
    nonzero = [row[row > 0] for row in x]
    np.testing.assert_allclose(adata.obs["raw_sum"], x.sum(1))
    assert adata.obs["nnz"].tolist() == [len(values) for values in nonzero]
    np.testing.assert_allclose(adata.obs["raw_mean_nnz"], [values.mean() for values in nonzero])
    np.testing.assert_allclose(adata.obs["raw_variance_nnz"], [values.var(ddof=1) for values in nonzero], atol=1e-12)
    assert (adata.obs["n_measured_vars"] == x.shape[1]).all()


def small(tmp_path, matrix, var_names, **row):
    n = matrix.shape[0]
    obs = pd.DataFrame({"term": [CD4] * n}, index=[f"c{i}" for i in range(n)])
    adata = ad.AnnData(sparse.csr_matrix(matrix, dtype=np.float32), obs=obs, var=pd.DataFrame(index=var_names))
    adata.write_h5ad(tmp_path / "x.h5ad")
    facts = {"title": "X", "role": "pretraining", "citation": "me", "licence": "CC0", "cell_type": "obs.term"}
    return Dataset.model_validate({"dataset": "x", "file": {"path": str(tmp_path / "x.h5ad")}, **facts, **row})


def test_genes_of_one_id_are_added_up(tmp_path, table):
    ids = table["gene_id"].tolist()[:3]
    row = small(tmp_path, np.array([[1, 2, 4, 8], [0, 1, 0, 3]]), [f"{ids[1]}.1", ids[0], f"{ids[1]}.2", ids[2]])
    adata, qc = run(row, table)
    assert adata.var_names.tolist() == ids
    np.testing.assert_array_equal(adata.X.toarray(), [[2, 5, 8], [1, 0, 3]])
    assert qc["genes_merged"].item() == 1


@pytest.mark.parametrize("drop", [True, False])
def test_genes_that_were_filled_in(tmp_path, table, drop):
    ids = table["gene_id"].tolist()[:3]
    row = small(tmp_path, np.array([[1, 0, 4], [2, 0, 0]]), ids, drop_zero_genes=drop)
    adata, qc = run(row, table)
    assert adata.n_vars == (2 if drop else 3)
    assert qc["genes_dropped_zero"].item() == int(drop)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cell_type": "obs.nothing"}, "dataset x, cell_type: the file has no column obs.nothing"),
        ({"gene_ids": "nothing"}, "dataset x, gene_ids: var has no column nothing"),
        ({"sex": "woman"}, "dataset x, sex: 'woman' is no term"),
        ({"is_primary_data": "obs.term"}, "is_primary_data: 'CL:0000624' is neither True nor False"),
        ({"gene_id_kind": "symbol"}, "only 0.0% of its genes are in the gene table"),
        ({"keep": "term == 'none'"}, "no cell is left of 2|only 0.0%"),
    ],
    ids=["column", "gene column", "term", "truth", "kind of names", "nothing kept"],
)
def test_row_that_does_not_fit_the_file(tmp_path, table, change, words):
    ids = table["gene_id"].tolist()[:3]
    row = small(tmp_path, np.ones((2, 3)), ids, **change)
    with pytest.raises(WcedError, match=words):
        run(row, table, min_mapped_genes=0.5)


def test_share_of_known_genes(tmp_path, table):
    names = [*table["gene_id"].tolist()[:2], "ENSG99999999999", "ERCC-00002"]
    row = small(tmp_path, np.ones((2, 4)), names)
    assert run(row, table, min_mapped_genes=0.5)[1]["genes_unmapped"].item() == 2
    with pytest.raises(WcedError, match=r"only 50.0% .*at least 60%"):
        run(row, table, min_mapped_genes=0.6)


def test_values_are_renamed(tmp_path, table):
    row = small(tmp_path, np.ones((2, 1)), table["gene_id"].tolist()[:1], cell_type=f"obs.term|{CD4}=CL:0000236")
    assert run(row, table)[0].obs["cell_type"].astype(str).tolist() == ["B cell"] * 2


def test_cell_names_must_be_unique(tmp_path, table):
    row = small(tmp_path, np.ones((2, 1)), table["gene_id"].tolist()[:1])
    adata = ad.read_h5ad(row.file.path)
    adata.obs_names = ["same", "same"]
    adata.write_h5ad(row.file.path)
    with pytest.raises(WcedError, match="cell name same stands there twice"):
        run(row, table)


def test_same_input_same_bytes(rows, table, tmp_path):
    for name in ("a.h5ad", "b.h5ad"):
        write(run(rows["held_blood"], table)[0], tmp_path / name)
    assert (tmp_path / "a.h5ad").read_bytes() == (tmp_path / "b.h5ad").read_bytes()
