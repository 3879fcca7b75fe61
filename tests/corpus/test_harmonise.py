import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from generated import CD4, MITOCHONDRIAL, NAMES, genes
from wced import tables
from wced.corpus import matrices
from wced.corpus.datasets import Dataset
from wced.corpus.harmonise import OBS_COLUMNS, harmonise
from wced.errors import WcedError


@pytest.fixture
def run(tmp_path, table):
    """Harmonise a row's files; return what was written and the row of QC."""

    def harmonised(row, names=None, output=tmp_path / "harmonised.h5ad", **options):
        labels = None if row.labels is None else row.labels.path
        qc, _ = harmonise(row, row.file.files(), table, output, labels=labels, cell_type_names=names, **options)
        return ad.read_h5ad(output), qc

    return harmonised


@pytest.fixture
def ids(table):
    return table["gene_id"].tolist()


@pytest.mark.parametrize("name", ["blood_symbols", "spleen_ensembl", "lung_smartseq", "held_blood", "held_lung"])
def test_every_dataset_meets_the_contract(run, rows, table, names, name):
    adata, qc = run(rows[name], names)
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
    dropped = row["genes_dropped_zero"] + row["genes_unmapped"] + row["genes_merged"] + row["genes_not_in_all_files"]
    assert row["genes_in_file"] == dropped + row["genes"]
    assert (row["cells"], row["genes"]) == adata.shape


def test_symbols_become_ensembl_ids(run, rows):
    adata, qc = run(rows["blood_symbols"])
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


def test_versions_raw_names_and_constants(run, rows):
    adata, _ = run(rows["spleen_ensembl"])
    published = ad.read_h5ad(rows["spleen_ensembl"].file.path)
    assert (adata.X != published.raw.X).nnz == 0
    assert adata.obs["cell_type"].astype(str).tolist() == published.obs["name"].astype(str).tolist()
    first = adata.obs.iloc[0]
    assert (first["tissue_ontology_term_id"], first["tissue_general"]) == ("UBERON:0002106", "spleen")
    assert (first["sex_ontology_term_id"], first["sex"]) == ("PATO:0000383", "female")
    assert (first["donor_id"], first["batch"], first["development_stage"]) == ("s1", "spleen_ensembl", "unknown")


def test_labels_of_a_second_file(run, rows, names):
    adata, qc = run(rows["lung_smartseq"], names)
    labels = ad.read_h5ad(rows["lung_smartseq"].labels.path).obs["name"].astype(str)
    known = {name.upper(): name for term, name in NAMES.items() if name.upper() in names}
    expected = labels.map(known).reindex(adata.obs_names).fillna("unknown")
    assert adata.obs["cell_type"].astype(str).tolist() == expected.tolist()
    assert qc["cells_unlabelled"].item() == (expected == "unknown").sum() > 10
    assert qc["cells_dropped_filter"].item() == 5
    assert adata.obs["mt_fraction"].isna().all(), "no mitochondrial gene was measured"


def test_statistics_of_counts(run, rows):
    adata, _ = run(rows["spleen_ensembl"])
    x = adata.X.toarray().astype(np.float64)
    mitochondrial = adata.var["feature_name"].isin(MITOCHONDRIAL).to_numpy()
    np.testing.assert_allclose(adata.obs["mt_fraction"], x[:, mitochondrial].sum(1) / x.sum(1))
    nonzero = [row[row > 0] for row in x]
    np.testing.assert_allclose(adata.obs["raw_sum"], x.sum(1))
    assert adata.obs["nnz"].tolist() == [len(values) for values in nonzero]
    np.testing.assert_allclose(adata.obs["raw_mean_nnz"], [values.mean() for values in nonzero])
    np.testing.assert_allclose(adata.obs["raw_variance_nnz"], [values.var(ddof=1) for values in nonzero], atol=1e-12)
    assert (adata.obs["n_measured_vars"] == x.shape[1]).all()


def dataset(file, **row):
    facts = {"title": "X", "role": "pretraining", "citation": "me", "licence": "CC0", "cell_type": "obs.term"}
    return Dataset.model_validate({"dataset": "x", "file": file, **facts, **row})


def write_small(path, matrix, var_names, **obs):
    n = matrix.shape[0]
    frame = pd.DataFrame({"term": [CD4] * n, **obs}, index=[f"c{i}" for i in range(n)])
    matrix = sparse.csr_matrix(matrix, dtype=np.float32) if isinstance(matrix, np.ndarray) else matrix
    ad.AnnData(matrix, obs=frame, var=pd.DataFrame(index=var_names)).write_h5ad(path)


def small(tmp_path, matrix, var_names, **row):
    write_small(tmp_path / "x.h5ad", matrix, var_names)
    return dataset({"path": str(tmp_path / "x.h5ad")}, **row)


def test_genes_of_one_id_are_added_up(run, tmp_path, ids):
    row = small(tmp_path, np.array([[1, 2, 4, 8], [0, 1, 0, 3]]), [f"{ids[1]}.1", ids[0], f"{ids[1]}.2", ids[2]])
    adata, qc = run(row)
    assert adata.var_names.tolist() == ids[:3]
    np.testing.assert_array_equal(adata.X.toarray(), [[2, 5, 8], [1, 0, 3]])
    assert qc["genes_merged"].item() == 1


@pytest.mark.parametrize("drop", [True, False])
def test_genes_that_were_filled_in(run, tmp_path, ids, drop):
    adata, qc = run(small(tmp_path, np.array([[1, 0, 4], [2, 0, 0]]), ids[:3], drop_zero_genes=drop))
    assert adata.n_vars == (2 if drop else 3)
    assert qc["genes_dropped_zero"].item() == int(drop)


def test_share_of_known_genes(run, tmp_path, ids):
    row = small(tmp_path, np.ones((2, 4)), [*ids[:2], "ENSG99999999999", "ERCC-00002"])
    assert run(row, min_mapped_genes=0.5)[1]["genes_unmapped"].item() == 2
    with pytest.raises(WcedError, match=r"only 50.0% .*at least 60%.*not in it are ENSG99999999999, ERCC-00002$"):
        run(row, min_mapped_genes=0.6)


def test_same_input_same_bytes(run, rows, tmp_path):
    for name in ("a.h5ad", "b.h5ad"):
        run(rows["held_blood"], output=tmp_path / name)
    assert (tmp_path / "a.h5ad").read_bytes() == (tmp_path / "b.h5ad").read_bytes()


def test_written_as_anndata_writes(run, rows, tmp_path):
    adata, _ = run(rows["held_blood"])
    adata.write_h5ad(tmp_path / "theirs.h5ad")
    with h5py.File(tmp_path / "harmonised.h5ad") as ours, h5py.File(tmp_path / "theirs.h5ad") as theirs:
        contents = [
            {name: dict(file[name].attrs, dtype=getattr(file[name], "dtype", None)) for name in keys(file)}
            for file in (ours, theirs)
        ]
    assert contents[0].pop("X/indptr")["dtype"] == np.int64, "as many values as a file can have"
    contents[1].pop("X/indptr")
    assert repr(contents[0]) == repr(contents[1])


def keys(file):
    keys = ["/"]
    file.visit(keys.append)
    return sorted(keys)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_change_nothing(run, rows, tmp_path, monkeypatch, block):
    whole, _ = run(rows["blood_symbols"], output=tmp_path / "whole.h5ad")
    monkeypatch.setattr(matrices, "BLOCK", block * 100)
    blocked, _ = run(rows["blood_symbols"], output=tmp_path / "blocked.h5ad")
    assert (whole.X != blocked.X).nnz == 0
    pd.testing.assert_frame_equal(whole.obs, blocked.obs)


@pytest.mark.parametrize("store", [sparse.csc_matrix, np.asarray], ids=["csc", "dense"])
def test_bytes_do_not_depend_on_how_counts_are_stored(run, tmp_path, ids, store):
    counts = np.random.default_rng(0).poisson(0.7, (50, 8)).astype(np.float32)
    written = []
    for name, matrix in {"csr": sparse.csr_matrix(counts), "other": store(counts)}.items():
        write_small(tmp_path / f"{name}.h5ad", matrix, ids[:8])
        run(dataset({"path": str(tmp_path / f"{name}.h5ad")}), output=tmp_path / f"{name}.harmonised.h5ad")
        written.append((tmp_path / f"{name}.harmonised.h5ad").read_bytes())
    assert written[0] == written[1]


def test_several_files(run, tmp_path, ids):
    """Cells are told apart by their file; genes that one file did not measure are no genes of the dataset."""
    write_small(tmp_path / "a.h5ad", np.array([[1, 2, 3], [0, 4, 0]]), [ids[2], ids[0], ids[1]], age=["old", "young"])
    write_small(tmp_path / "b.h5ad", np.array([[5, 6, 7]]), [ids[1], "ENSG9", ids[2]])
    row = dataset(
        {"path": f"{tmp_path / 'a.h5ad'}; second={tmp_path / 'b.h5ad'}"},
        donor_id="obs.file|a=first",
        tissue_type="obs.age",
        batch="obs.file",
    )
    adata, qc = run(row)
    assert adata.var_names.tolist() == [ids[1], ids[2]]
    # The second cell of the first file has counts in a gene that the other lacks, and in no other.
    assert adata.obs_names.tolist() == ["c0-a", "c0-second"]
    np.testing.assert_array_equal(adata.X.toarray(), [[3, 1], [5, 7]])
    assert adata.obs["donor_id"].tolist() == ["first", "second"] and adata.obs["batch"].tolist() == ["a", "second"]
    assert adata.obs["tissue_type"].tolist() == ["old", "unknown"]
    qc = qc.iloc[0]
    assert (qc["files"], qc["cells_in_file"], qc["cells_dropped_empty"], qc["cells"]) == (2, 3, 1, 2)
    assert (qc["genes_in_file"], qc["genes_unmapped"], qc["genes_not_in_all_files"], qc["genes"]) == (4, 1, 1, 2)
    assert qc["counts_unmapped_fraction"] == pytest.approx((2 + 4 + 6) / 28)


def test_files_without_a_common_gene(run, tmp_path, ids):
    for i, name in enumerate("ab"):
        write_small(tmp_path / f"{name}.h5ad", np.ones((2, 1)), [ids[i]])
    row = dataset({"path": f"{tmp_path / 'a.h5ad'};{tmp_path / 'b.h5ad'}"})
    with pytest.raises(WcedError, match="dataset x: no gene is in all of its 2 files"):
        run(row)


def test_cells_of_few_genes(run, tmp_path, ids):
    counts = np.array([[1, 1, 1], [1, 1, 0], [9, 0, 0], [1, 0, 1], [0, 0, 9]])
    adata, qc = run(small(tmp_path, counts, [*ids[:2], "ENSG99999999999"], min_genes=2))
    assert adata.obs_names.tolist() == ["c0", "c1", "c3"], "a gene without an id is expressed too"
    assert qc[["cells_dropped_min_genes", "cells_dropped_empty"]].iloc[0].tolist() == [1, 1]


def test_missing_values_are_unknown(run, tmp_path, ids):
    obs = {
        "term": pd.Categorical([CD4, None, CD4]),
        "donor": [1.0, np.nan, 2.0],
        "sex": pd.array(["female", None, "NA"], dtype="object"),
    }
    write_small(tmp_path / "x.h5ad", np.ones((3, 1)), ids[:1], **obs)
    adata, qc = run(dataset({"path": str(tmp_path / "x.h5ad")}, donor_id="obs.donor", sex="obs.sex"))
    assert adata.obs["cell_type"].tolist() == [NAMES[CD4], "unknown", NAMES[CD4]]
    assert adata.obs["donor_id"].tolist() == ["1.0", "unknown", "2.0"]
    assert adata.obs["sex"].tolist() == ["female", "unknown", "unknown"]
    assert qc["cells_unlabelled"].item() == 1


def test_columns_beside_those_of_the_schema(run, tmp_path, ids):
    obs = {"dose": [10.0, np.nan, 1e4], "drug name": pd.Categorical(["a", None, "b"]), "sex": ["m", "f", "f"]}
    write_small(tmp_path / "x.h5ad", np.ones((3, 1)), ids[:1], **obs)
    path = {"path": str(tmp_path / "x.h5ad")}
    row = dataset(path, extra_obs="obs.dose;drug=obs.drug name|b=B;obs.drug name")
    adata, _ = run(row)
    assert tuple(adata.obs.columns) == (*OBS_COLUMNS, "dose", "drug", "drug name")
    np.testing.assert_array_equal(adata.obs["dose"], obs["dose"])
    assert adata.obs["dose"].dtype == np.float64, "numbers stay numbers"
    assert adata.obs["drug"].tolist() == ["a", "unknown", "B"]
    assert adata.obs["drug name"].tolist() == ["a", "unknown", "b"]
    with pytest.raises(WcedError, match=r"dataset x, extra_obs: there is no column obs\.none"):
        run(dataset(path, extra_obs="obs.none"))


def log1p_10k(counts):
    return np.log1p(1e4 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(np.float32)


def test_log_normalised_values_are_read_as_such(run, tmp_path, ids):
    """The harmonised file has the counts that the values were made of."""
    counts = np.random.default_rng(0).negative_binomial(0.3, 0.01, (30, 40)).astype(np.float64)
    values, row = log1p_10k(counts), {"values": "log1p_10k", "role": "held_out"}
    adata, qc = run(small(tmp_path, values, ids[:40], **row))
    assert adata.uns["counts_made_of"] == "log1p_10k" and qc["cells"].item() == 30
    stored = adata.X.toarray().astype(np.float64)
    assert (stored == np.rint(stored)).all(), "whole numbers, as every room expects them"
    np.testing.assert_array_equal(stored, counts)
    # Genes left out by the publisher take nothing from the others.
    part, _ = run(small(tmp_path, values[:, :20], ids[:20], **row))
    np.testing.assert_array_equal(part.X.toarray(), adata[part.obs_names, ids[:20]].X.toarray())


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.array([[1, 2, 4]]), "all values are whole numbers, so they are no log1p"),
        (np.array([[1.5, 2, 9.5]]), "by its values a cell has 13368.* counts per 10,000"),
        (np.array([[1.5, 2, 4000.5]]), "counts per 10,000, so they are no natural logarithms"),
        (np.array([[1.5, -0.5, 2]]), "gene ENSG.* in cell c0 is -0.5, which is negative"),
        (np.array([[1.5, np.nan, 2]]), "is nan, which is not a finite number"),
        (np.log2(1 + np.array([[10.0, 30, 50, 17, 31]]) * 1.37), "the values of cell c0 are no natural logarithms"),
    ],
    ids=["counts", "another total", "no logarithm", "scaled", "not finite", "binary logarithm"],
)
def test_values_that_are_no_logarithms_are_refused(run, tmp_path, ids, matrix, words):
    row = small(tmp_path, matrix, ids[: matrix.shape[1]], values="log1p_10k", role="held_out")
    with pytest.raises(WcedError, match=words):
        run(row)
