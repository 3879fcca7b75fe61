"""Mouse cells in human genes; the orthologs here are made up."""

import anndata as ad
import numpy as np
import pytest
from scipy import sparse
from typer.testing import CliRunner

from generated import write_table
from wced import genes as gene_library
from wced.cli.commands import app
from wced.corpus.datasets import read_datasets
from wced.corpus.harmonise import harmonise
from wced.errors import WcedError
from wced.genes.orthologs import read_orthologs

N, PAIRED = 60, 40
MICE = [f"ENSMUSG{i:011d}" for i in range(N)]


@pytest.fixture
def homologs(tmp_path, table):
    """The first 40 mouse genes, in backward order, are one to one with the first human genes; ten more with two."""
    human = table["gene_id"].tolist()
    rows = [(mouse, f"Mm{i}", human[PAIRED - 1 - i], "ortholog_one2one") for i, mouse in enumerate(MICE[:PAIRED])]
    rows += [(mouse, f"Mm{PAIRED + i}", human[50], "ortholog_one2many") for i, mouse in enumerate(MICE[PAIRED:50])]
    rows += [(mouse, f"Mm{50 + i}", "", "") for i, mouse in enumerate(MICE[50:])]
    path = tmp_path / "homologs.csv"
    head = "Gene stable ID,Gene name,Human gene stable ID,Human homology type\n"
    path.write_text(head + "".join(",".join(row) + "\n" for row in rows))
    return path


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(2, (30, N)).astype(np.float32)


def write_row(folder, counts, names, **more):
    cells = ad.AnnData(sparse.csr_matrix(counts))
    cells.obs_names, cells.var_names = [f"c{i}" for i in range(len(counts))], names
    cells.write_h5ad(folder / "mice.h5ad")
    row = {"dataset": "mice", "title": "Mice", "role": "held_out", "species": "mus_musculus", "citation": "-"}
    row |= {"licence": "-", "path": str(folder / "mice.h5ad"), **more}
    return write_table({"mice": row}, folder / "mice.tsv")


@pytest.mark.parametrize(
    ("names", "kind"),
    [(MICE, "ensembl"), ([f"{mouse}.2" for mouse in MICE], "ensembl"), ([f"Mm{i}" for i in range(N)], "symbol")],
    ids=["ensembl", "versions", "symbols"],
)
def test_counts_stand_at_the_human_orthologs_and_losses_are_counted(tmp_path, table, homologs, counts, names, kind):
    row = read_datasets(write_row(tmp_path, counts, names, gene_id_kind=kind))["mice"]
    output = tmp_path / "out.h5ad"
    qc, _ = harmonise(row, row.file.files(), table, output, orthologs=read_orthologs(homologs), min_mapped_genes=0.9)
    qc, harmonised = qc.iloc[0], ad.read_h5ad(output)
    assert harmonised.var_names.tolist() == table["gene_id"].tolist()[:PAIRED]
    np.testing.assert_array_equal(harmonised.X.toarray(), counts[:, :PAIRED][:, ::-1])
    assert (qc["genes_in_file"], qc["genes"], qc["genes_unmapped"]) == (N, PAIRED, N - PAIRED)
    assert qc["genes_unmapped_fraction"] == pytest.approx((N - PAIRED) / N)
    assert qc["counts_unmapped_fraction"] == pytest.approx(counts[:, PAIRED:].sum() / counts.sum())


@pytest.mark.parametrize(
    ("human", "words"),
    [
        (True, "only 0.0% of its 60 genes are in the table of orthologs as ensembl names"),
        (False, "as symbol names 100.0% would be: set gene_id_kind"),
    ],
    ids=["human names", "symbols"],
)
def test_names_that_are_no_mouse_names(tmp_path, table, homologs, counts, human, words):
    names = table["gene_id"].tolist()[:N] if human else [f"Mm{i}" for i in range(N)]
    row = read_datasets(write_row(tmp_path, counts, names))["mice"]
    with pytest.raises(WcedError, match=words):
        harmonise(
            row, row.file.files(), table, tmp_path / "out.h5ad", orthologs=read_orthologs(homologs),
            min_mapped_genes=0.5,
        )  # fmt: skip
    assert not (tmp_path / "out.h5ad").exists()


def test_mouse_cells_need_orthologs_and_human_cells_have_none(tmp_path, table, homologs, counts):
    mice = read_datasets(write_row(tmp_path, counts, MICE))["mice"]
    human = read_datasets(write_row(tmp_path, counts, MICE, species="homo_sapiens"))["mice"]
    for row, orthologs in ((mice, None), (human, read_orthologs(homologs))):
        with pytest.raises(WcedError, match="orthologs are for species other than homo_sapiens, and needed for them"):
            harmonise(row, row.file.files(), table, tmp_path / "out.h5ad", orthologs=orthologs)


def test_command(tmp_path, table, homologs, counts):
    datasets = write_row(tmp_path, counts, MICE)
    gene_library.write(table, tmp_path / "genes.parquet")
    words = ["source", "--genes", tmp_path / "genes.parquet", "--datasets", datasets, "--dataset", "mice"]
    words += ["--orthologs", homologs, "--output", tmp_path / "out.h5ad", "--qc", tmp_path / "qc.tsv"]
    CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert ad.read_h5ad(tmp_path / "out.h5ad").n_vars == PAIRED
