"""The whole config of a run, and how it is read and checked."""

import json
import re
from collections.abc import Collection, Iterable
from os.path import normpath
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from wced.config.ablation import Ablation
from wced.config.annotation import Annotation
from wced.config.base import LocalPath, Natural, Section
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
    """One run: a YAML file with these keys makes everything in `results/<run>/`."""

    run: str = Field(pattern=r"^[A-Za-z0-9_\-]+$")
    """Name of the run and of its folder in `results`."""
    results: LocalPath = "results"
    """Folder of all runs, as a path without `~` and `$`, which only a shell knows."""
    seed: Natural = 0
    """Seed of everything random."""
    genes: Genes
    """The gene table."""
    sources: Sources = Sources()
    """Datasets and archives."""
    census: Census
    """The pretraining corpus."""
    cells: Cells = Cells()
    """Which cells are used, and their split."""
    shards: Shards = Shards()
    """Files that training reads."""
    pretraining: Pretraining
    """The models."""
    embedding: Embedding
    """Embeddings of held-out datasets."""
    benchmarks: Benchmarks
    """How embeddings are scored."""
    ablation: Ablation | None = None
    """Comparison of checkpoints that differ in listed factors; null for none."""
    annotation: Annotation | None = None
    """Function of each gene, from databases; null for none, and no analysis of families and programs."""
    learnability: Learnability = Learnability()
    """Gene-level analysis."""
    report: Report = Report()
    """The page that shows the run."""
    speedrun: Speedrun | None = None
    """Time to quality, only made by `snakemake speedrun`; null for none."""

    @model_validator(mode="after")
    def _check_sections(self) -> "Run":
        census, embedding, benchmarks = self.census, self.embedding, self.benchmarks
        checkpoints = self.pretraining.checkpoints
        if sum([bool(census.datasets), census.uri is not None, census.version is not None]) != 1:
            raise ValueError("census: give exactly one of datasets, uri and version")
        for name in embedding.datasets:
            if name in census.datasets:
                raise ValueError(f"embedding.datasets: {name} is part of census.datasets, so it is not held out")
        for key, section in benchmarks.tasks.items():
            _require(f"benchmarks.{key}.datasets", section.datasets, embedding.datasets, "embedding.datasets")
        self._check_columns("pretraining", self.pretraining)
        if benchmarks.gene_level is not None and self.annotation is None:
            raise ValueError("benchmarks.gene_level needs the section annotation")
        if self.speedrun is not None:
            self._check_speedrun(self.speedrun)
        names = {
            "concat": embedding.concat,
            "step_0": embedding.step_0,
            "untrained": [] if embedding.untrained is None else [embedding.untrained],
            "readouts": [readout.checkpoint for readout in embedding.readouts.values()],
        }
        for key, used in names.items():
            _require(f"embedding.{key}", used, checkpoints, "pretraining.checkpoints")
        for name, readout in embedding.readouts.items():
            key = f"embedding.readouts.{name}.pooling"
            self.pretraining.check_readout(key, readout.checkpoint, readout.pooling, readout.allow_untrained)
        if self.ablation is not None:
            _require("ablation.checkpoints", self.ablation.checkpoints, checkpoints, "pretraining.checkpoints")
            _require("ablation.metrics", self.ablation.metrics, benchmarks.tasks, "benchmarks")
        self._check_checkpoints()
        return self

    def _check_checkpoints(self) -> None:
        checkpoints = self.pretraining.checkpoints
        reserved = {"concat", "untrained", *get_args(Baseline), *self.embedding.models}
        for name, checkpoint in checkpoints.items():
            if not re.fullmatch(r"[A-Za-z0-9_\-]+", name):
                raise ValueError(f"pretraining.checkpoints: {name!r} is no name of letters, digits, _ and -")
            if name in reserved:
                raise ValueError(f"pretraining.checkpoints: {name} is the name of a baseline")
            folder = normpath(f"{self.results}/{self.run}/pretraining/{name}")
            if checkpoint.extend_from is not None and normpath(checkpoint.extend_from) == folder:
                raise ValueError(
                    f"pretraining.checkpoints.{name}.extend_from: its own folder, which is deleted before it is made "
                    "anew; give the longer training a name of its own"
                )
        if not any(checkpoint.wced or checkpoint.mlm for checkpoint in checkpoints.values()):
            raise ValueError("pretraining.checkpoints: none decodes expression (wced or mlm), so no gene has an error")

    def _check_speedrun(self, section: Speedrun) -> None:
        corpus = self.census.datasets
        for name in section.datasets:
            if name in corpus:
                raise ValueError(f"speedrun.datasets: {name} is in census.datasets; list it in speedrun.validation")
        if corpus:
            known = "census.datasets; list it in speedrun.datasets"
            _require("speedrun.validation", section.validation, corpus, known)
        self._check_columns("speedrun.recipe", section.recipe)

    def _check_columns(self, key: str, pretraining: Pretraining) -> None:
        """Refuse columns of models, heads and orders that the shards do not have."""
        labels, numbers = self.shards.label_columns, self.shards.number_columns
        _require(f"{key}.model.metadata", pretraining.model.metadata, labels, "shards.label_columns")
        for name, checkpoint in pretraining.checkpoints.items():
            contrast, heads = checkpoint.contrast, checkpoint.label_heads
            columns = {
                "contrast.positives": [contrast.positives] if contrast and contrast.positives else [],
                "label_heads": [head.column for head in heads if head.loss != "mse"],
                "order.columns": [column for column in checkpoint.order.columns if column != "dataset_id"],
            }
            for part, used in columns.items():
                _require(f"{key}.checkpoints.{name}.{part}", used, labels, "shards.label_columns")
            regressed = [head.column for head in heads if head.loss == "mse"]
            _require(f"{key}.checkpoints.{name}.label_heads", regressed, numbers, "shards.number_columns")

    @property
    def models(self) -> list[str]:
        """Names of all models that embed cells: checkpoints, their concatenation, baselines, and external ones."""
        return [*self.pretraining.checkpoints, *self.embedding.models]

    def kind(self, model: str) -> Literal["model", "baseline", "external"]:
        """Return whether a model was trained here, is a baseline, or was made elsewhere.

        `NAME_decoder`, the gene vectors in the decoder of a checkpoint NAME, was trained here.
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
        """Return the run without some held-out datasets, which it then neither embeds nor scores."""

        def fewer(section: Embedding | Task) -> Any:
            return section.model_copy(update={"datasets": [name for name in section.datasets if name not in datasets]})

        tasks = {key: fewer(section) for key, section in self.benchmarks.tasks.items()}
        shares = {name: share for name, share in self.embedding.min_gene_share.items() if name not in datasets}
        embedding = fewer(self.embedding).model_copy(update={"min_gene_share": shares})
        return self.model_copy(update={"embedding": embedding, "benchmarks": self.benchmarks.model_copy(update=tasks)})


def _require(key: str, names: Iterable[str], known: Collection[str], where: str) -> None:
    """Raise ValueError for the first name that is not known."""
    for name in names:
        if name not in known:
            raise ValueError(f"{key}: {name} is not in {where}")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the config, the content of `workflow/schemas/config.schema.json`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Run.model_json_schema()}


def check(config: dict[str, Any]) -> Run:
    """Return the config with its defaults; raise WcedError with one sentence that names the wrong key."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = json_schema()
    config = typed(config, schema)
    error = best_match(Draft202012Validator(schema).iter_errors(config))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "top level"
        raise WcedError(f"config, {where}: {error.message}{_remedy(error)}")
    try:
        return Run.model_validate(config)
    except ValidationError as failure:
        raise _refusal("config", failure) from None


def _remedy(error: Any) -> str:
    """Return what to do about a value of the wrong type, if that is not obvious."""
    types = {part.validator_value for part in error.context or [error] if part.validator == "type"}
    if error.instance is None and types:
        return "; give a value, or leave the key out"
    if "string" in types and not isinstance(error.instance, dict | list):
        return "; put it in quotes"
    return ""


def _refusal(source: str, failure: ValidationError) -> WcedError:
    """Return the first error of a validation, with where the value came from."""
    first = failure.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return WcedError(f"{source}{f', {where}' if where else ''}: {first['msg'].removeprefix('Value error, ')}")


def read(path: str | Path) -> Run:
    """Return a YAML config, checked, such as `read("config/demo.yaml")`."""
    return check(read_mapping(path))


def section(model: type[Section], text: str, key: str | None = None) -> Any:
    """Return a section of the config from JSON or from the path of a file (JSON or YAML), at a `key` of the file."""
    is_json = text.lstrip().startswith("{")
    try:
        if is_json:
            return model.model_validate(json.loads(text))
        mapping = read_mapping(text) if key is None else read_mapping(text).get(key)
        if not isinstance(mapping, dict):
            raise WcedError(f"{text}: has no section {key}")
        return model.model_validate(typed(mapping, model.model_json_schema()))
    except json.JSONDecodeError as failure:
        raise WcedError(f"--section is not JSON: {failure}") from None
    except ValidationError as failure:
        raise _refusal("--section" if is_json else text, failure) from None
