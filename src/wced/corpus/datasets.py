"""The table of datasets: one row says where a dataset's file is and how it becomes a harmonised AnnData."""

import csv
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from wced.archives import archive_file
from wced.config import Run
from wced.config.base import Section
from wced.config.corpus import ArchiveMember
from wced.errors import WcedError
from wced.files import existing

_EXTRA = re.compile(r"(?:(?P<name>\w+)=)?(?P<value>(?:obs|labels)\.(?P<column>[^;|/=]+)(?:\|[^;]*)?)")
HUMAN = "homo_sapiens"
"""The species whose genes models know."""

Role = Literal["pretraining", "development", "held_out"]

_FILE, _LABELS = ("path", "archive", "sha256", "member"), "labels_"
_VALUES = ("cell_type", "batch", "assay", "tissue", "tissue_type", "disease", "development_stage", "sex")
_VALUES += ("self_reported_ethnicity", "donor_id", "suspension_type", "is_primary_data", "observation_joinid")
_VALUES += ("labels_file",)

OBS_COLUMNS = (
    "dataset_id",
    *("assay", "assay_ontology_term_id", "cell_type", "cell_type_ontology_term_id"),
    *("development_stage", "development_stage_ontology_term_id", "disease", "disease_ontology_term_id"),
    *("donor_id", "is_primary_data", "observation_joinid"),
    *("self_reported_ethnicity", "self_reported_ethnicity_ontology_term_id", "sex", "sex_ontology_term_id"),
    *("suspension_type", "tissue", "tissue_ontology_term_id", "tissue_general", "tissue_general_ontology_term_id"),
    *("tissue_type", "batch", "raw_sum", "nnz", "raw_mean_nnz", "raw_variance_nnz", "n_measured_vars", "mt_fraction"),
)
"""Columns of a harmonised dataset's obs: the Census's, and `batch` and `mt_fraction`."""

_RESERVED = (*OBS_COLUMNS, "soma_joinid", "split")
"""Names of columns that collections and cells.parquet have."""


class Dataset(Section):
    """One row of the table of datasets.

    A field of obs is given as a *value*: `obs.COLUMN` (a column of the file), `labels.COLUMN` (a column of the labels
    file, joined by barcode), or a constant for all cells. After it, `|from=to` renames single values, any number of
    times: `obs.method|10X=EFO:0009899|smartseq2=EFO:0008931`. What has an ontology may be given by id or by name.
    """

    dataset: str = Field(pattern=r"^[A-Za-z0-9_]+$")
    """Name, unique in the table; it becomes `dataset_id`."""
    title: str
    """One line for people."""
    species: Literal["homo_sapiens", "mus_musculus"] = HUMAN
    """Species of the cells. Genes of mice become their one-to-one human orthologs; those without are dropped. Mouse
    datasets are never for pretraining."""
    role: Role
    """`pretraining`: models may be pretrained on it. `development`: its scores choose recipes. `held_out`: results are
    reported on it. The last two never become part of a corpus."""
    file: ArchiveMember
    """The files of counts: columns path, or archive, sha256 and member."""
    labels: ArchiveMember | None = None
    """A further file with labels for the same barcodes: the same columns with `labels_` before their names."""
    labels_barcode: str | None = None
    """Regular expression for the part of a cell's name that both files share, e.g. `^[ACGT]+`; all of it when empty."""
    labels_file: str | None = None
    """Value (`labels.COLUMN`): the name of the cell's file of counts, where barcodes are unique within a file only."""
    format: Literal["h5ad", "10x_h5", "10x_mtx"] = "h5ad"
    """Format of the counts: h5ad, Cell Ranger's h5 (versions 2 and 3), or its folder of matrix.mtx, features.tsv (or
    genes.tsv) and barcodes.tsv, each possibly gzipped. Of 10x's formats only Gene Expression is read; Ensembl ids are
    the index of var, and symbols its column `gene_symbols`."""
    counts: str = Field("X", pattern=r"^(X|raw|layers/.+)$")
    """Where an h5ad file has its raw counts: `X`, `raw` (with the genes of raw) or `layers/NAME`."""
    values: Literal["counts", "log1p_10k"] = "counts"
    """What the matrix holds: raw counts; or, if nothing else is published, log1p of counts per 10,000 (natural
    logarithm; of all genes, of which the file may have some), from which the counts are computed. Where few genes are
    left, all counts of a cell may lack a common factor. Never for pretraining."""
    gene_ids: str = "index"
    """Where genes are named: `index`, or a column of var."""
    gene_id_kind: Literal["ensembl", "symbol"] = "ensembl"
    """What genes are named by: Ensembl ids (with or without version) or symbols."""
    keep: str | None = None
    """Condition on columns of obs in the language of pandas' `DataFrame.query`; cells for which it is false or missing
    are dropped and counted."""
    min_genes: int = Field(0, ge=0)
    """Smallest number of the file's genes that a cell expresses; cells with fewer are dropped and counted."""
    drop_zero_genes: bool = False
    """Whether genes without any count were filled in, not measured, and are dropped."""
    cell_type: str = "unknown"
    """Value: Cell Ontology ids or names."""
    cell_type_kind: Literal["term", "name"] = "term"
    """`term`: ids or names of the Cell Ontology. `name`: free names that the table of cell type names maps to ids."""
    batch: str | None = None
    """Value: technical batch; the dataset's name when empty."""
    assay: str = "unknown"
    """Value, EFO."""
    tissue: str = "unknown"
    """Value, UBERON (or CL for cultures, Cellosaurus for cell lines)."""
    tissue_type: str = "unknown"
    """Value: tissue, cell culture, cell line or organoid; by default as the values of `tissue` imply."""
    disease: str = "unknown"
    """Value, MONDO (one or several) or PATO:0000461 (normal)."""
    development_stage: str = "unknown"
    """Value, HsapDv (MmusDv for mice)."""
    sex: str = "unknown"
    """Value, PATO."""
    self_reported_ethnicity: str = "unknown"
    """Value, HANCESTRO or AfPO (one or several)."""
    donor_id: str = "unknown"
    """Value: donor, a name local to the dataset."""
    suspension_type: str = "unknown"
    """Value: cell or nucleus."""
    is_primary_data: str = "True"
    """Value: True or False."""
    observation_joinid: str | None = None
    """Value: a cell's id in CELLxGENE; made from dataset and barcode when empty."""
    extra_obs: str | None = None
    """Further columns of obs to keep, for `shards` and tasks, with `;` between: values as above, under their own names
    or after `NAME=`; numbers stay numbers: `obs.dose;drug=obs.product_name;labels.viability`."""
    accession: str | None = None
    """Where the data come from: accession in a public archive, or address."""
    citation: str
    """Who made the data; the report prints it."""
    licence: str
    """Licence of the data."""

    @field_validator("file", "labels")
    @classmethod
    def _named(cls, file: ArchiveMember | None) -> ArchiveMember | None:
        if file is not None and file.archive is not None:
            try:
                archive_file(file.archive)
            except WcedError as error:
                raise ValueError(str(error)) from None
        return file

    @property
    def extra(self) -> dict[str, str]:
        """Name and value (`obs.COLUMN`, `labels.COLUMN`, both with renames) of each column of `extra_obs`."""
        return dict(_extra(self.extra_obs))

    @field_validator("extra_obs")
    @classmethod
    def _columns(cls, entries: str | None) -> str | None:
        names = [name for name, _ in _extra(entries)]
        if len(set(names)) < len(names):
            raise ValueError("a name is duplicated")
        for name in names:
            if name in _RESERVED or name.startswith("soma_"):
                raise ValueError(f"{name} is in the schema; put NAME= before it")
        return entries

    @model_validator(mode="after")
    def _consistent(self) -> "Dataset":
        if self.labels is not None and len(self.labels.files()) > 1:
            raise ValueError("labels are one file")
        if self.format != "h5ad" and self.counts != "X":
            raise ValueError(f"counts is for h5ad files, and {self.format} has one matrix only: leave it empty")
        if self.values != "counts" and self.role == "pretraining":
            raise ValueError("values are no counts, and pretraining needs counts")
        if self.species != HUMAN and self.role == "pretraining":
            raise ValueError(f"species is {self.species}, and pretraining is on human cells")
        if self.labels_file is not None and not self.labels_file.startswith("labels."):
            raise ValueError("labels_file is labels.COLUMN")
        try:
            re.compile(self.labels_barcode or "")
        except re.error as error:
            raise ValueError(f"labels_barcode is no regular expression: {error}") from None
        for name, value in ({name: getattr(self, name) for name in _VALUES} | self.extra).items():
            if self.labels is None and str(value).startswith("labels."):
                raise ValueError(f"{name} is taken from the labels, but no labels_path or labels_archive is given")
        return self


def _extra(entries: str | None) -> list[tuple[str, str]]:
    """Return name and value of each entry of `extra_obs`; raise ValueError for one that has another form."""
    pairs = []
    for entry in entries.split(";") if entries else ():
        match = _EXTRA.fullmatch(entry)
        if match is None:
            raise ValueError(f"{entry!r} is not obs.COLUMN or labels.COLUMN, with or without NAME= before it")
        pairs.append((match["name"] or match["column"], match["value"]))
    return pairs


def read_datasets(path: str | Path) -> dict[str, Dataset]:
    """Return the rows of a table of datasets (TSV, one header line; an empty cell is the default) by name, in order.

    Raises WcedError naming the row and the column that is wrong.

    >>> read_datasets("config/datasets.tsv")["pbmc3k"].role
    'pretraining'
    """
    path = existing(path, "the table of datasets")
    with path.open(newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = list(reader)
    known = {*Dataset.model_fields, *_FILE, *(_LABELS + name for name in _FILE)} - {"file", "labels"}
    for column in reader.fieldnames or []:
        if column not in known:
            raise WcedError(f"{path}: column {column} is unknown")
    datasets: dict[str, Dataset] = {}
    digests: dict[str, str | None] = {}
    for number, row in enumerate(rows, start=2):
        name = row.get("dataset") or f"on line {number}"
        if None in row or None in row.values():
            raise WcedError(f"{path}: row {name} does not have as many cells as the header")
        fields: dict[str, object] = {column: cell for column, cell in row.items() if cell != ""}
        fields["file"] = {column: fields.pop(column) for column in _FILE if column in fields}
        if labels := {column: fields.pop(_LABELS + column) for column in _FILE if _LABELS + column in fields}:
            fields["labels"] = labels
        try:
            dataset = Dataset.model_validate(fields)
        except ValidationError as failure:
            first = failure.errors()[0]
            column = f", column {first['loc'][0]}" if first["loc"] else ""
            raise WcedError(f"{path}: row {name}{column}: {first['msg'].removeprefix('Value error, ')}") from None
        if name in datasets:
            raise WcedError(f"{path}: row {name} is duplicated")
        datasets[name] = dataset
        for member in filter(None, (dataset.file, dataset.labels)):
            if member.archive and digests.setdefault(member.archive, member.sha256) != member.sha256:
                raise WcedError(f"{path}: row {name}: {member.archive} has another sha256 in an earlier row")
    return datasets


def read_dataset(path: str | Path | None, name: str | None) -> Dataset:
    """Return one row of the table of datasets."""
    if path is None or name is None:
        raise WcedError("a dataset is given as a row in JSON, or by a table of datasets and a name in it")
    datasets = read_datasets(path)
    if name not in datasets:
        raise WcedError(f"{path}: has no row {name}; its rows are {', '.join(datasets)}")
    return datasets[name]


def check_run(run: Run, datasets: dict[str, Dataset]) -> None:
    """Raise WcedError naming the first dataset that a run uses and the table lacks, or that the run must not use."""
    for key, names in (
        ("census.datasets", run.census.datasets),
        ("embedding.datasets", run.embedding.datasets),
        ("benchmarks.transfer.train_on", [run.benchmarks.transfer.train_on] if run.benchmarks.transfer else []),
        ("speedrun.datasets", run.speedrun.datasets if run.speedrun else []),
    ):
        for name in names:
            if name not in datasets:
                raise WcedError(f"config, {key}: {name} is not in {run.sources.table}")
    known = {*OBS_COLUMNS, *(name for dataset in run.census.datasets for name in datasets[dataset].extra)}
    for name in run.shards.obs_columns if run.census.datasets else ():
        if name not in known:
            raise WcedError(
                f"config, shards: {name} is no column of obs of the schema, and in extra_obs of no dataset of "
                f"census.datasets, by {run.sources.table}"
            )
    kinds = {"held_out": "held out of pretraining", "development": "development data, not for pretraining"}
    for name in run.census.datasets:
        if (role := datasets[name].role) != "pretraining":
            raise WcedError(f"config, census.datasets: {name} is {kinds[role]}, by {run.sources.table}")
