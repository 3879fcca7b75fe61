"""The whole config of a run, and how it is read and checked."""

import json
import re
from collections.abc import Collection
from os.path import normpath
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from wced.config.ablation import Ablation
from wced.config.annotation import Annotation
from wced.config.base import LocalPath, Section
from wced.config.benchmarks import Benchmarks, Task
from wced.config.corpus import Cells, Census, Genes, Shards, Sources
from wced.config.embedding import Baseline, Embedding
from wced.config.learnability import Learnability
from wced.config.pretraining import Pretraining
from wced.config.reading import read_mapping, typed
from wced.config.report import Report
from wced.config.speedrun import Speedrun
from wced.errors import WcedError


class Run(Section):
    """One run: a YAML file of this shape makes everything under `results/<run>/`."""

    run: str = Field(pattern=r"^[A-Za-z0-9_\-]+$")
    """Name of the run and of its folder under `results/`."""
    results: LocalPath = "results"
    """Folder that holds the folders of all runs, by a path without `~` and `$`, which only a shell knows."""
    seed: int = Field(0, ge=0)
    """Seed of everything that is drawn at random."""
    genes: Genes
    """The gene table."""
    sources: Sources = Sources()
    """Datasets and archives."""
    census: Census
    """The pretraining corpus."""
    cells: Cells = Cells()
    """Selection, downsampling and split."""
    shards: Shards = Shards()
    """Files that training reads."""
    pretraining: Pretraining
    """The models."""
    embedding: Embedding
    """Embeddings of held-out datasets."""
    benchmarks: Benchmarks
    """What embeddings are scored by."""
    ablation: Ablation | None = None
    """Comparison of checkpoints that differ in stated factors; null for none."""
    annotation: Annotation | None = None
    """What each gene does, from databases; null for none, and then no family or program is analysed."""
    learnability: Learnability = Learnability()
    """Gene-level analysis."""
    report: Report = Report()
    """The page."""
    speedrun: Speedrun | None = None
    """Time to quality, made by `snakemake speedrun` only; null for none."""

    @model_validator(mode="after")
    def _consistent(self) -> "Run":
        sources = [bool(self.census.datasets), self.census.uri is not None, self.census.version is not None]
        if sum(sources) != 1:
            raise ValueError("census: give exactly one of datasets, uri and version")
        leaked = sorted(set(self.census.datasets) & set(self.embedding.datasets))
        if leaked:
            raise ValueError(f"embedding.datasets: {leaked[0]} is part of census.datasets, so it is not held out")
        for key, section in self.benchmarks.tasks.items():
            missing = sorted(set(section.datasets) - set(self.embedding.datasets))
            if missing:
                raise ValueError(f"benchmarks.{key}.datasets: {missing[0]} is not in embedding.datasets")
        self._labels_are_in_the_shards("pretraining", self.pretraining)
        if self.benchmarks.gene_level is not None and self.annotation is None:
            raise ValueError("benchmarks.gene_level needs the section annotation")
        if self.speedrun is not None:
            self._speedrun_is_scored_on_other_cells(self.speedrun)
            self._labels_are_in_the_shards("speedrun.recipe", self.speedrun.recipe)
        read = [readout.checkpoint for readout in self.embedding.readouts.values()]
        named = {
            "concat": self.embedding.concat, "step_0": self.embedding.step_0,
            "untrained": [self.embedding.untrained], "readouts": read,
        }  # fmt: skip
        for key, names in named.items():
            for name in names:
                if name is not None and name not in self.pretraining.checkpoints:
                    raise ValueError(f"embedding.{key}: {name} is not in pretraining.checkpoints")
        for name, readout in self.embedding.readouts.items():
            key = f"embedding.readouts.{name}.pooling"
            self.pretraining.check_readout(key, readout.checkpoint, readout.pooling, readout.allow_untrained)
        if self.ablation is not None:
            self._ablation_is_of_what_is_made(self.ablation)
        for name in self.pretraining.checkpoints:
            if not re.fullmatch(r"[A-Za-z0-9_\-]+", name):
                raise ValueError(f"pretraining.checkpoints: {name!r} is no name of letters, digits, _ and -")
        for name, trained in self.pretraining.checkpoints.items():
            own = normpath(f"{self.results}/{self.run}/pretraining/{name}")
            if trained.extend_from is not None and normpath(trained.extend_from) == own:
                raise ValueError(
                    f"pretraining.checkpoints.{name}.extend_from: its own folder, which is deleted before it is made "
                    "anew; give the longer training a name of its own"
                )
        if not any(trained.wced or trained.mlm for trained in self.pretraining.checkpoints.values()):
            raise ValueError("pretraining.checkpoints: none decodes expression (wced or mlm), so no gene has an error")
        names = {"concat", "untrained", *get_args(Baseline), *self.embedding.models}
        if reserved := names & set(self.pretraining.checkpoints):
            raise ValueError(f"pretraining.checkpoints: {min(reserved)} is the name of a baseline")
        return self

    def _ablation_is_of_what_is_made(self, section: Ablation) -> None:
        for name in section.checkpoints:
            if name not in self.pretraining.checkpoints:
                raise ValueError(f"ablation.checkpoints: {name} is not in pretraining.checkpoints")
        for task in section.metrics:
            if task not in self.benchmarks.tasks:
                raise ValueError(f"ablation.metrics: {task} is not in benchmarks")

    def _speedrun_is_scored_on_other_cells(self, section: Speedrun) -> None:
        trained = set(self.census.datasets)
        if leaked := sorted(trained & set(section.datasets)):
            raise ValueError(f"speedrun.datasets: {leaked[0]} is in census.datasets; list it in speedrun.validation")
        if trained and (other := sorted(set(section.validation) - trained)):
            raise ValueError(f"speedrun.validation: {other[0]} is not in census.datasets; list it in speedrun.datasets")

    def _labels_are_in_the_shards(self, section: str, pretraining: Pretraining) -> None:
        labels, numbers = self.shards.label_columns, self.shards.number_columns
        wanted = [(f"{section}.model.metadata", column, "label_columns") for column in pretraining.model.metadata]
        for name, checkpoint in pretraining.checkpoints.items():
            if checkpoint.contrast is not None and checkpoint.contrast.positives is not None:
                key = f"{section}.checkpoints.{name}.contrast.positives"
                wanted.append((key, checkpoint.contrast.positives, "label_columns"))
            wanted += [
                (
                    f"{section}.checkpoints.{name}.label_heads",
                    head.column,
                    "number_columns" if head.loss == "mse" else "label_columns",
                )
                for head in checkpoint.label_heads
            ]
            balanced = [column for column in checkpoint.order.columns if column != "dataset_id"]
            wanted += [(f"{section}.checkpoints.{name}.order.columns", column, "label_columns") for column in balanced]
        for key, column, held in wanted:
            if column not in {"label_columns": labels, "number_columns": numbers}[held]:
                raise ValueError(f"{key}: {column} is not in shards.{held}")

    @property
    def models(self) -> list[str]:
        """Names of everything that embeds cells: checkpoints, their concatenation, baselines, and what is external."""
        return [*self.pretraining.checkpoints, *self.embedding.models]

    def kind(self, model: str) -> Literal["model", "baseline", "external"]:
        """Return what a model of the tables is: trained here, a baseline, or made elsewhere.

        Of a checkpoint NAME, `NAME_decoder` is trained here too: vectors of genes in its decoder.
        """
        if model in self.embedding.external:
            return "external"
        trained = {*self.pretraining.checkpoints, *self.embedding.readouts, "concat"}
        return "model" if model in trained or model.removesuffix("_decoder") in trained else "baseline"

    def models_of(self, task: str) -> list[str]:
        """Return the names of the models that a benchmark scores."""
        only = self.benchmarks.tasks[task].checkpoints_only
        return list(self.pretraining.checkpoints) if only else self.models

    def without(self, datasets: Collection[str]) -> "Run":
        """Return the run without held-out datasets, which are then neither embedded nor scored."""

        def fewer(section: Embedding | Task) -> Any:
            return section.model_copy(update={"datasets": [name for name in section.datasets if name not in datasets]})

        tasks = {key: fewer(section) for key, section in self.benchmarks.tasks.items()}
        shares = {name: share for name, share in self.embedding.min_gene_share.items() if name not in datasets}
        embedding = fewer(self.embedding).model_copy(update={"min_gene_share": shares})
        return self.model_copy(update={"embedding": embedding, "benchmarks": self.benchmarks.model_copy(update=tasks)})


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the config; `workflow/schemas/config.schema.json` is this, written out."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Run.model_json_schema()}


def check(config: dict[str, Any]) -> Run:
    """Return the config with its defaults filled in; raise WcedError with one sentence that names the wrong key."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from pydantic import ValidationError

    schema = json_schema()
    config = typed(config, schema)
    error = best_match(Draft202012Validator(schema).iter_errors(config))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "top level"
        raise WcedError(f"config, {where}: {error.message}{_remedy(error)}")
    try:
        return Run.model_validate(config)
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise WcedError(f"config, {where}: {message}" if where else f"config: {message}") from None


def _remedy(error: Any) -> str:
    """Return what to do about a value of the wrong type, where that is not plain."""
    wanted = {part.validator_value for part in error.context or [error] if part.validator == "type"}
    if error.instance is None and wanted:
        return "; give a value, or leave the key out"
    if "string" in wanted and not isinstance(error.instance, dict | list):
        return "; put it in quotes"
    return ""


def read(path: str | Path) -> Run:
    """Read and check a YAML config."""
    return check(read_mapping(path))


def section(model: type[Section], given: str, key: str | None = None) -> Any:
    """Read a section that a command was given into its typed model.

    Parameters
    ----------
    model
        The model.
    given
        The section as JSON, or the path of a file with it (JSON or YAML): no command line is long enough for all.
    key
        Where in the file the section stands; None if it is all of it.
    """
    from pydantic import ValidationError

    name = "--section" if given.lstrip().startswith("{") else given
    try:
        if name == given:
            mapping = read_mapping(given) if key is None else read_mapping(given).get(key)
            if not isinstance(mapping, dict):
                raise WcedError(f"{given}: has no section {key}")
            return model.model_validate(typed(mapping, model.model_json_schema()))
        return model.model_validate(json.loads(given))
    except json.JSONDecodeError as failure:
        raise WcedError(f"--section is not JSON: {failure}") from None
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ", ".join([name, ".".join(map(str, first["loc"]))]).removesuffix(", ")
        raise WcedError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
