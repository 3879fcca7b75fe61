"""The table of datasets: one row says where a dataset's file is and how it becomes a harmonised AnnData."""

import csv
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from wced.config import Run
from wced.config.base import Section
from wced.config.corpus import ArchiveMember
from wced.corpus.archives import archive_file
from wced.errors import WcedError
from wced.files import existing

_FILE, _LABELS = ("path", "archive", "sha256", "member"), "labels_"
_COLUMNS = ("cell_type", "batch", "assay", "tissue", "tissue_type", "disease", "development_stage", "sex")
_COLUMNS += ("self_reported_ethnicity", "donor_id", "suspension_type", "is_primary_data", "observation_joinid")


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
    role: Literal["pretraining", "held_out"]
    """Whether models may be pretrained on it; what is held out never becomes part of a corpus."""
    file: ArchiveMember
    """The file of counts: columns path, or archive, sha256 and member."""
    labels: ArchiveMember | None = None
    """A second file with labels for the same barcodes: the same columns with `labels_` before their names."""
    format: Literal["h5ad"] = "h5ad"
    """Format of both files."""
    counts: str = Field("X", pattern=r"^(X|raw|layers/.+)$")
    """Where the raw counts are: `X`, `raw` (with the genes of raw) or `layers/NAME`."""
    gene_ids: str = "index"
    """Where genes are named: `index`, or a column of var."""
    gene_id_kind: Literal["ensembl", "symbol"] = "ensembl"
    """What genes are named by: Ensembl ids (with or without version) or symbols."""
    keep: str | None = None
    """Condition on columns of obs in the language of pandas' `DataFrame.query`; other cells are dropped and counted."""
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
    """Value, UBERON (or CL, for cultures)."""
    tissue_type: str = "unknown"
    """Value: tissue, cell culture, organoid."""
    disease: str = "unknown"
    """Value, MONDO or PATO:0000461 (normal)."""
    development_stage: str = "unknown"
    """Value, HsapDv."""
    sex: str = "unknown"
    """Value, PATO."""
    self_reported_ethnicity: str = "unknown"
    """Value, HANCESTRO."""
    donor_id: str = "unknown"
    """Value: donor, a name local to the dataset."""
    suspension_type: str = "unknown"
    """Value: cell or nucleus."""
    is_primary_data: str = "True"
    """Value: True or False."""
    observation_joinid: str | None = None
    """Value: a cell's id in CELLxGENE; made from dataset and barcode when empty."""
    citation: str
    """Who made the data; the report prints it."""
    licence: str
    """Licence of the data."""

    @field_validator("file", "labels")
    @classmethod
    def _found(cls, file: ArchiveMember | None) -> ArchiveMember | None:
        if file is None:
            return None
        if (file.path is None) == (file.archive is None):
            raise ValueError("give either a path or an archive")
        if file.archive is not None:
            if not (file.sha256 and file.member):
                raise ValueError("an archive needs sha256 and member")
            try:
                archive_file(file.archive)
            except WcedError as error:
                raise ValueError(str(error)) from None
        return file

    @model_validator(mode="after")
    def _labelled(self) -> "Dataset":
        if self.labels is None:
            for name in _COLUMNS:
                if str(getattr(self, name)).startswith("labels."):
                    raise ValueError(f"{name} is taken from the labels, but no labels_path or labels_archive is given")
        return self


def read_datasets(path: str | Path) -> dict[str, Dataset]:
    """Read the table of datasets (TSV, one header line; an empty cell is the default).

    Returns
    -------
    dict
        The rows by name, in the table's order.

    Raises
    ------
    WcedError
        Naming the row and the column that is wrong.
    """
    path = existing(path, "the table of datasets")
    with path.open(newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = list(reader)
    known = [name for name in Dataset.model_fields if name not in ("file", "labels")]
    known += [*_FILE, *(_LABELS + name for name in _FILE)]
    for column in reader.fieldnames or []:
        if column not in known:
            raise WcedError(f"{path}: column {column} is unknown")
    datasets: dict[str, Dataset] = {}
    digests: dict[str, str | None] = {}
    for number, row in enumerate(rows, start=2):
        name = row.get("dataset") or f"on line {number}"
        if None in row or None in row.values():
            raise WcedError(f"{path}: row {name} does not have as many cells as the header")
        try:
            dataset = Dataset.model_validate(_nested({key: cell for key, cell in row.items() if cell != ""}))
        except ValidationError as failure:
            first = failure.errors()[0]
            where = f", column {first['loc'][0]}" if first["loc"] else ""
            raise WcedError(f"{path}: row {name}{where}: {first['msg'].removeprefix('Value error, ')}") from None
        if dataset.dataset in datasets:
            raise WcedError(f"{path}: row {name} stands there twice")
        datasets[dataset.dataset] = dataset
        for member in filter(None, (dataset.file, dataset.labels)):
            if member.archive and digests.setdefault(member.archive, member.sha256) != member.sha256:
                raise WcedError(f"{path}: row {name}: {member.archive} has another sha256 in an earlier row")
    return datasets


def _nested(row: dict[str, str]) -> dict[str, object]:
    """Group the columns of the two files of a row."""
    file = {name: row.pop(name) for name in _FILE if name in row}
    labels = {name: row.pop(_LABELS + name) for name in _FILE if _LABELS + name in row}
    return {**row, "file": file, **({"labels": labels} if labels else {})}


def check_run(run: Run, datasets: dict[str, Dataset]) -> None:
    """Raise WcedError naming the first dataset that a run uses and the table lacks, or that the run must not use."""
    for key, names in (("census.datasets", run.census.datasets), ("embedding.datasets", run.embedding.datasets)):
        for name in names:
            if name not in datasets:
                raise WcedError(f"config, {key}: {name} is not in {run.sources.table}")
    for name in run.census.datasets:
        if datasets[name].role == "held_out":
            raise WcedError(f"config, census.datasets: {name} is held out of pretraining by {run.sources.table}")
