import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from wced.errors import WcedError
from wced.genes.embeddings import read_gene_embeddings

VOCABULARY = [f"ENSG{i:011d}" for i in range(6)]
FILE = pd.DataFrame(
    np.arange(12, dtype=np.float64).reshape(4, 3) / 7,
    index=[f"{VOCABULARY[4]}.12", VOCABULARY[1], "ENSG99999999999", VOCABULARY[3]],
    columns=["a", "b", "c"],
)


def write(table, folder, kind="tsv"):
    if kind == "parquet with an index":
        table.to_parquet(folder / "vectors.parquet")
    elif kind == "parquet without":
        table.reset_index().to_parquet(folder / "vectors.parquet", index=False)
    elif kind == "tsv":
        table.to_csv(folder / "vectors.tsv", sep="\t")
    else:
        x = sparse.csr_matrix(table.to_numpy()) if kind == "sparse h5ad" else table.to_numpy()
        ad.AnnData(x, obs=pd.DataFrame(index=table.index)).write_h5ad(folder / "vectors.h5ad")
    return next(folder.iterdir())


@pytest.mark.parametrize("kind", ["parquet with an index", "parquet without", "tsv", "h5ad", "sparse h5ad"])
def test_vectors_come_in_the_order_of_the_vocabulary(tmp_path, kind):
    matrix, has_row = read_gene_embeddings(write(FILE, tmp_path, kind), VOCABULARY)
    assert has_row.tolist() == [False, True, False, True, True, False]
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, FILE.to_numpy()[[1, 3, 0]], rtol=1e-6)


def changed(row, value):
    table = FILE.astype(object) if isinstance(value, str) else FILE.copy()
    table.iloc[row, 1] = value
    return table


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (pd.concat([FILE, FILE[:1].rename(lambda name: name.split(".")[0])]), f"{VOCABULARY[4]} has more than one row"),
        (changed(1, np.nan), f"the vector of {VOCABULARY[1]} holds a missing or infinite number"),
        (changed(3, np.inf), f"the vector of {VOCABULARY[3]} holds a missing or infinite number"),
        (changed(1, "many"), "a vector is not made of numbers: could not convert string to float: 'many'"),
        (FILE[2:3], r"none of its 1 ids is a gene of the vocabulary; the first is \['ENSG99999999999'\]"),
        (FILE * 0, "the vectors have no dimension, or are zeros only"),
        (FILE[[]], "the vectors have no dimension, or are zeros only"),
    ],
    ids=["twice", "nan", "infinite", "text", "no gene", "zeros", "no column"],
)
def test_bad_tables_are_refused(tmp_path, table, sentence):
    with pytest.raises(WcedError, match=f"vectors.tsv: {sentence}$"):
        read_gene_embeddings(write(table, tmp_path), VOCABULARY)


def test_a_missing_number_of_another_gene_does_no_harm(tmp_path):
    matrix, _ = read_gene_embeddings(write(changed(2, np.nan), tmp_path), VOCABULARY)
    assert np.isfinite(matrix).all()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("broken.parquet", "cannot be read as parquet"),
        ("broken.h5ad", "not an h5ad file"),
        ("vectors.csv", "vectors of genes come as .parquet, .tsv or .h5ad"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, name, sentence):
    with pytest.raises(WcedError, match=f"{name}: no such file; expected vectors of genes"):
        read_gene_embeddings(tmp_path / name, VOCABULARY)
    (tmp_path / name).write_text("no table\n")
    with pytest.raises(WcedError, match=f"{name}: {sentence}"):
        read_gene_embeddings(tmp_path / name, VOCABULARY)
