import pytest

from generated import write_cell_type_names, write_datasets, write_references, write_table
from wced import genes as gene_library
from wced.config.corpus import Census
from wced.corpus.annotation import read_cell_type_names
from wced.corpus.build import build_census
from wced.corpus.census import open_census
from wced.corpus.datasets import read_datasets
from wced.corpus.harmonise import harmonise
from wced.genes.table import read_gencode, read_hgnc

CORPUS = ["blood_symbols", "spleen_ensembl", "lung_smartseq"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("generated")


@pytest.fixture(scope="session")
def table(folder):
    """Gene table of the generated references."""
    gencode, hgnc = write_references(folder)
    return gene_library.build(read_gencode(gencode), read_hgnc(hgnc))


@pytest.fixture(scope="session")
def rows(folder):
    """Table of the generated datasets."""
    return read_datasets(write_table(write_datasets(folder), folder / "datasets.tsv"))


@pytest.fixture(scope="session")
def names(folder):
    return read_cell_type_names(write_cell_type_names(folder / "names.tsv"))


@pytest.fixture(scope="session")
def sources(folder, rows, table, names):
    """Harmonised files of the generated corpus."""
    paths = []
    for name in CORPUS:
        labels = None if rows[name].labels is None else rows[name].labels.path
        paths.append(folder / "sources" / f"{name}.h5ad")
        files = rows[name].file.files()
        harmonise(rows[name], files, table, paths[-1], labels=labels, cell_type_names=names)
    return paths


@pytest.fixture(scope="session")
def collection(folder, sources):
    """Folder of the generated corpus as a SOMA collection."""
    build_census(sources, folder / "census")
    return folder / "census"


@pytest.fixture(scope="session")
def census(collection):
    """That collection, open."""
    with open_census(Census(datasets=CORPUS), collection) as handle:
        yield handle
