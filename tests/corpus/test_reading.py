import gzip
import shutil

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.io import mmwrite

from wced.corpus import matrices
from wced.corpus.published import LARGEST_COUNT
from wced.corpus.reading import of_anndata, open_counts, read_labels
from wced.errors import WcedError

COUNTS = np.array([[0, 2, 0], [1, 0, 3], [0, 0, 0], [5, 0, 70000]], np.float32)
MATRICES = {"dense": np.asarray, "csr": sparse.csr_matrix, "csc": sparse.csc_matrix}


def cells(matrix=None):
    matrix = sparse.csr_matrix(COUNTS) if matrix is None else matrix
    obs = pd.DataFrame({"good": [True, False, True, True], "n": [1, 2, 3, 4]}, index=list("abcd"))
    return ad.AnnData(matrix, obs=obs, var=pd.DataFrame(index=["g1", "g2", "g3"]))


def dense(published, rows=None):
    rows = np.arange(len(published.obs)) if rows is None else np.array(rows)
    return sparse.vstack([sparse.csr_matrix((0, len(published.var))), *published.counts(rows)]).toarray()


@pytest.mark.parametrize("make", MATRICES.values(), ids=MATRICES)
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint32], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("block", [1, 3, 2**22], ids=lambda n: f"blocks of {n}")
def test_wanted_rows_of_any_matrix(tmp_path, monkeypatch, make, dtype, block):
    monkeypatch.setattr(matrices, "BLOCK", block)
    cells(make(COUNTS.astype(dtype))).write_h5ad(tmp_path / "x.h5ad")
    published = open_counts(tmp_path / "x.h5ad")
    for rows in ([0, 1, 2, 3], [0, 2, 3], [1], []):
        np.testing.assert_array_equal(dense(published, rows), COUNTS[rows])


def split_entries(matrix):
    """Return the same matrix with each count in three entries, one of them zero, in any order."""
    coo = sparse.coo_matrix(matrix)
    ones = np.minimum(coo.data, 1)
    value = np.concatenate([ones, coo.data - ones, 0 * ones])
    row, column = np.tile(coo.row, 3), np.tile(coo.col, 3)
    order = np.random.default_rng(0).permutation(len(row))
    order = order[np.argsort(row[order], kind="stable")]
    indptr = np.concatenate([[0], np.bincount(row, minlength=coo.shape[0]).cumsum()])
    split = sparse.csr_matrix((value[order], column[order], indptr), coo.shape)
    assert split.nnz == 3 * coo.nnz and not split.has_canonical_format
    return split


FORMS = {
    "dense": np.asarray,
    "split": split_entries,
    "split by genes": lambda matrix: split_entries(matrix.T).T,
    "array": sparse.csr_array,
}


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "f4", "f8"])
def test_all_readers_read_the_same(tmp_path, make, dtype):
    """Files and AnnData, in memory and backed, from X, layers and raw; the AnnData stays as it is."""
    counts = np.minimum(COUNTS, 250)
    adata = cells(make(counts.astype(dtype)))
    adata.layers["counts"] = adata.X.copy()
    adata.raw = adata.copy()
    before = adata.X.copy()
    adata.write_h5ad(tmp_path / "x.h5ad")
    readers = [open_counts(tmp_path / "x.h5ad", counts=name) for name in ("X", "raw", "layers/counts")]
    for read in (adata, ad.read_h5ad(tmp_path / "x.h5ad", backed="r")):
        readers += [of_anndata(read), of_anndata(read, layer="counts"), of_anndata(read, use_raw=True)]
    for published in [*readers, of_anndata(adata[[True] * 4])]:
        for block in published.counts():
            assert block.has_canonical_format
        np.testing.assert_array_equal(dense(published), counts)
    for old, new in ((before, adata.X),) if sparse.issparse(before) else ():
        np.testing.assert_array_equal(old.indices, new.indices)
        np.testing.assert_array_equal(old.data, new.data)


def test_entries_may_add_up_beyond_their_type():
    twice = sparse.csr_matrix((np.array([200, 200], "u1"), np.array([0, 0]), np.array([0, 2])), (1, 1))
    assert next(matrices.blocks(twice, np.arange(1))).toarray() == 400


@pytest.mark.parametrize("dtype", ["?", "f2", ">f4", ">i8"])
def test_types_that_scipy_does_not_compute_with(tmp_path, dtype):
    wanted = COUNTS[:3]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for values in (wanted > 0, wanted) if dtype != "?" else (wanted > 0,):
            stored = file.create_dataset(f"{values.dtype}", data=values.astype(dtype))
            for matrix in (stored, stored[:]):
                block = next(matrices.blocks(matrix, np.arange(3)))
                np.testing.assert_array_equal(block.toarray(), values)
                assert block.sum() == values.sum()


@pytest.mark.parametrize(
    ("columns", "kept", "left_out"),
    [
        ({"feature_types": ["Gene Expression", "Antibody Capture", "Gene Expression"]}, [0, 2], "1 Antibody Capture"),
        ({"feature_type": ["gene_expression", "Custom", "Peaks"]}, [0], "1 Custom, 1 Peaks"),
        ({"modality": pd.Categorical(["prot", "rna", "prot"])}, [1], "2 prot"),
        ({"Feature_Types": ["GEX", "ADT", None]}, [0, 2], "1 ADT"),
        ({"feature_type": ["protein_coding", "ADT", "lncRNA"]}, [0, 2], "1 ADT"),
        ({"feature_type": ["protein_coding", "lncRNA", "TEC"]}, [0, 1, 2], ""),
        ({"feature_type": ["protein_coding"] * 3, "feature_types": ["a", "antibody", "b"]}, [0, 2], "1 antibody"),
        ({"feature_types": ["Gene Expression"] * 3}, [0, 1, 2], ""),
    ],
)
def test_only_genes_are_read(tmp_path, columns, kept, left_out):
    adata = cells()
    adata.var = adata.var.assign(**columns)
    adata.write_h5ad(tmp_path / "x.h5ad")
    for published in (of_anndata(adata), open_counts(tmp_path / "x.h5ad")):
        np.testing.assert_array_equal(dense(published), COUNTS[:, kept])
        assert published.var.index.tolist() == [f"g{i + 1}" for i in kept] and published.left_out == left_out
    adata.var = pd.DataFrame({"feature_types": "Antibody Capture"}, index=adata.var_names)
    with pytest.raises(WcedError, match="X: no feature is gene expression; feature_types of var says Antibody Capture"):
        of_anndata(adata)


def test_zeros_and_ones_alone_are_no_counts():
    ones = np.ones((40, 30), np.float32)
    adata = ad.AnnData(ones, layers={"counts": ones * 3})
    with pytest.raises(WcedError, match=r"X: holds zeros and ones only.*; layers\['counts'\] looks raw: set layer to"):
        dense(of_anndata(adata))
    few = ad.AnnData(ones[:, :20])
    np.testing.assert_array_equal(dense(of_anndata(few)), few.X)  # so few may be what a shallow panel counts


def test_blocks_stay_small_and_cover_all(tmp_path, monkeypatch):
    monkeypatch.setattr(matrices, "BLOCK", 50)
    counts = sparse.random(300, 20, density=0.3, format="csr", rng=np.random.default_rng(0))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("dense", data=counts.toarray(), chunks=(7, 20))
        rows = np.flatnonzero(np.arange(300) % 3)
        sizes = {}
        for name, stored in {"sparse": counts, "dense": file["dense"]}.items():
            parts = list(matrices.blocks(stored, rows))
            assert (sparse.vstack(parts) != counts[rows]).nnz == 0
            sizes[name] = max(part.shape[0] for part in parts)
    assert sizes["dense"] == 5, "whole chunks of 7 rows"
    assert sizes["sparse"] <= 20


@pytest.mark.parametrize("counts", ["X", "raw", "layers/counts"])
def test_where_counts_are(tmp_path, counts):
    adata = cells()
    normalised = adata.copy()
    normalised.X = normalised.X.log1p()
    if counts == "raw":
        normalised.raw = adata
        normalised = normalised[:, :2].copy()
    if counts == "layers/counts":
        normalised.layers["counts"] = adata.X
    (adata if counts == "X" else normalised).write_h5ad(tmp_path / "x.h5ad")
    published = open_counts(tmp_path / "x.h5ad", counts=counts)
    np.testing.assert_array_equal(dense(published), COUNTS)
    assert published.var.index.tolist() == ["g1", "g2", "g3"]


@pytest.mark.filterwarnings("ignore:Element")
def test_file_from_before_anndata_0_7(tmp_path):
    path = tmp_path / "old.h5ad"
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = b"csr", COUNTS.shape
        matrix = sparse.csr_matrix(COUNTS)
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        cell = [(name.encode(), code) for name, code in zip("abcd", [1, 0, -1, 1], strict=True)]
        file["obs"] = np.array(cell, dtype=[("index", "S8"), ("type", "i1")])
        file["uns/type_categories"] = np.array([b"B", b"T"])
        file["var"] = np.array([(f"g{i}".encode(), b"ENSG") for i in range(3)], dtype=[("index", "S8"), ("id", "S8")])
    published = open_counts(path)
    np.testing.assert_array_equal(dense(published), COUNTS)
    assert published.obs.index.tolist() == list("abcd")
    assert published.obs["type"].astype(object).fillna("none").tolist() == ["T", "B", "none", "T"]
    assert published.var.index.tolist() == ["g0", "g1", "g2"]
    assert published.var["id"].tolist() == ["ENSG"] * 3


@pytest.mark.filterwarnings("ignore:Element")
def test_categories_of_anndata_0_7(tmp_path):
    cells().write_h5ad(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        file["obs/type"] = np.array([1, 0, 1, 1], np.int8)
        file["obs/__categories/type"] = np.array(["B", "T"], dtype=h5py.string_dtype())
        file["obs/type"].attrs["categories"] = file["obs/__categories/type"].ref
        file["obs"].attrs["encoding-version"] = "0.1.0"
        file["obs"].attrs["column-order"] = ["good", "n", "type"]
    assert open_counts(tmp_path / "x.h5ad").obs["type"].tolist() == ["T", "B", "T", "T"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1.0, "is -1, which is negative; X holds negative values"),
        (0.5, "is 0.5, which is not a whole number; X holds whole numbers but for .* of them; no other matrix"),
        (np.nan, "is nan, which is not a finite number$"),
        (np.inf, "is inf, which is not a finite number$"),
        (2.0 * LARGEST_COUNT, f"which is larger than {LARGEST_COUNT}$"),
    ],
    ids=["negative", "fraction", "nan", "infinite", "too large"],
)
@pytest.mark.parametrize("make", MATRICES.values(), ids=MATRICES)
def test_bad_count_is_located(tmp_path, monkeypatch, make, value, words):
    monkeypatch.setattr(matrices, "BLOCK", 2)
    matrix = COUNTS.copy()
    matrix[3, 2] = value
    cells(make(matrix)).write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(WcedError, match=f"x.h5ad, X: the count of gene g3 in cell d .*{words}"):
        dense(open_counts(tmp_path / "x.h5ad"), [0, 3])


def test_bad_count_of_a_dropped_cell_does_not_matter(tmp_path):
    matrix = COUNTS.copy()
    matrix[1, 0] = 0.5
    cells(sparse.csr_matrix(matrix)).write_h5ad(tmp_path / "x.h5ad")
    np.testing.assert_array_equal(dense(open_counts(tmp_path / "x.h5ad"), [0, 2, 3]), COUNTS[[0, 2, 3]])


def write_10x_h5(path, version=3, counts=COUNTS, kinds=("Gene Expression",) * 3, genome="GRCh38"):
    """Write genes × cells, column by column: the rows of cells × genes."""
    rows = sparse.csr_matrix(counts.astype(np.int32))
    ids, names = [f"ENSG{i:011d}".encode() for i in range(3)], [b"A", b"B", b"NA"]
    with h5py.File(path, "a") as file:
        group = file.create_group("matrix" if version == 3 else genome)
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(rows, name)
        group["shape"] = np.array(counts.shape[::-1], np.int32)
        group["barcodes"] = np.array([b"AC-1", b"AG-1", b"CA-1", b"CC-1"])
        if version == 3:
            features = {"id": ids, "name": names, "feature_type": [kind.encode() for kind in kinds]}
            features["genome"] = [genome.encode()] * 3
            for name, values in features.items():
                group[f"features/{name}"] = np.array(values)
        else:
            group["genes"], group["gene_names"] = np.array(ids), np.array(names)
    return path


def write_10x_mtx(folder, version=3, zipped=True, kinds=("Gene Expression",) * 3):
    folder.mkdir()
    mmwrite(folder / "matrix.mtx", sparse.coo_matrix(COUNTS.T.astype(int)))
    extra = [f"\t{kind}" if version == 3 else "" for kind in kinds]
    genes = "".join(f"ENSG{i:011d}\t{name}{extra[i]}\n" for i, name in enumerate(["A", "B", "NA"]))
    (folder / ("features.tsv" if version == 3 else "genes.tsv")).write_text(genes)
    (folder / "barcodes.tsv").write_text("AC-1\nAG-1\nCA-1\nCC-1\n")
    for path in list(folder.iterdir()) if zipped else []:
        with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb") as packed:
            shutil.copyfileobj(plain, packed)
        path.unlink()
    return folder


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("format", ["10x_h5", "10x_mtx zipped", "10x_mtx plain"])
def test_files_of_cell_ranger(tmp_path, version, format):
    format, _, how = format.partition(" ")
    path = tmp_path / "x"
    write_10x_h5(path, version) if format == "10x_h5" else write_10x_mtx(path, version, how == "zipped")
    published = open_counts(path, format)
    np.testing.assert_array_equal(dense(published), COUNTS)
    assert published.obs.index.tolist() == ["AC-1", "AG-1", "CA-1", "CC-1"]
    assert published.var.index.tolist() == [f"ENSG{i:011d}" for i in range(3)]
    assert published.var["gene_symbols"].tolist() == ["A", "B", "NA"], "NA is a name"


def test_cell_ranger_h5_is_read_as_scanpy_reads_it(tmp_path):
    import scanpy as sc

    write_10x_h5(tmp_path / "x.h5", kinds=["Gene Expression", "Antibody Capture", "Gene Expression"])
    theirs, ours = sc.read_10x_h5(tmp_path / "x.h5"), open_counts(tmp_path / "x.h5", "10x_h5")
    np.testing.assert_array_equal(dense(ours), theirs.X.toarray())
    assert ours.var.index.tolist() == theirs.var["gene_ids"].tolist()


@pytest.mark.parametrize(("format", "write"), [("10x_h5", write_10x_h5), ("10x_mtx", write_10x_mtx)])
def test_only_gene_expression_is_read(tmp_path, format, write):
    kinds = ["Gene Expression", "Antibody Capture", "Gene Expression"]
    published = open_counts(write(tmp_path / "x", kinds=kinds), format)
    np.testing.assert_array_equal(dense(published, [1, 3]), COUNTS[[1, 3]][:, [0, 2]])
    assert published.var["gene_symbols"].tolist() == ["A", "NA"]


def test_several_genomes(tmp_path):
    for genome in ("hg19", "mm10"):
        write_10x_h5(tmp_path / "x.h5", 2, genome=genome)
    with pytest.raises(WcedError, match=r"holds several genomes \(hg19, mm10\)"):
        open_counts(tmp_path / "x.h5", "10x_h5")


@pytest.mark.parametrize(
    ("broken", "lines", "words"),
    [
        ("matrix.mtx", 0, "has no matrix.mtx or matrix.mtx.gz"),
        ("genes.tsv", 0, "has no features.tsv or features.tsv.gz or genes.tsv"),
        ("barcodes.tsv", -1, "there are 3 features and 3 barcodes"),
        ("matrix.mtx", -2, "x cannot be read: "),
    ],
    ids=["no matrix", "no genes", "fewer barcodes", "fewer counts"],
)
def test_folder_that_is_not_whole(tmp_path, broken, lines, words):
    folder = write_10x_mtx(tmp_path / "x", 2, zipped=False)
    kept = (folder / broken).read_text().splitlines()[:lines]
    (folder / broken).unlink()
    if kept:
        (folder / broken).write_text("\n".join(kept))
    with pytest.raises(WcedError, match=words):
        dense(open_counts(folder, "10x_mtx"))


@pytest.mark.parametrize("suffix", ["h5ad", "csv", "tsv", "csv.gz"])
def test_labels(tmp_path, suffix):
    frame = pd.DataFrame({"name": ["NA", "T cell"]}, index=["a", "b"])
    path = tmp_path / f"labels.{suffix}"
    if suffix == "h5ad":
        ad.AnnData(obs=frame).write_h5ad(path)
    else:
        frame.to_csv(path, sep="\t" if suffix == "tsv" else ",")
    pd.testing.assert_frame_equal(read_labels(path), frame, check_names=False)


def test_labels_that_are_no_table(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WcedError, match=r"x\.csv: cannot be read as a table"):
        read_labels(tmp_path / "x.csv")
