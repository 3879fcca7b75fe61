"""A fine-tuned model with its metrics and predictions, and the folder that holds them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wced import tables
from wced.checkpoint import Checkpoint, save
from wced.config.finetuning import Finetuning
from wced.files import whole_folder
from wced.pretraining.card import read_from, sheet


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned model and how well it does."""

    checkpoint: Checkpoint
    """The model of the best epoch, in evaluation mode; its last label head is the new one."""
    section: Finetuning
    """How it was trained."""
    column: str
    """Column of obs that it learned."""
    name: str
    """Its name in the tables."""
    metrics: pd.DataFrame
    """Rows of `tables.METRICS`; those of the best epoch have accuracy and macro F1 of `predictions` too, and of two
    methods without a pretrained model: logistic regression on principal components, and the most frequent class."""
    predictions: pd.DataFrame
    """One row per validation and test cell: `cell`, `split`, `label`, `predicted`, `probability` (of `predicted`)."""
    best_epoch: int
    """Epoch of the smallest validation loss, from 1."""
    trained_parameters: int
    """Number of parameters that were trained."""
    notes: tuple[str, ...]
    """How many cells there are, what was left out, how training ended, and how well all methods do."""


def write(tuned: Finetuned, output: str | Path, *, base: str) -> None:
    """Write `model/` (an ordinary checkpoint's folder), `metrics.tsv` and `predictions.parquet`.

    `base` is the SHA-256 of the weights that it started from, for the model card.
    """
    with whole_folder(output) as temporary:
        (temporary / "model").mkdir()
        save(tuned.checkpoint, temporary / "model", card=_card(tuned, base))
        tables.write(tuned.metrics, tables.METRICS, temporary / "metrics.tsv")
        tuned.predictions.to_parquet(temporary / "predictions.parquet", index=False)


_HOW_TO = """```python
import wced

wced.tl.embed(adata, "path/of/this/folder")      # adata.obsm["X_wced"]
wced.tl.annotate(adata, "path/of/this/folder", column="{column}")
```"""


def _card(tuned: Finetuned, base: str) -> str:
    """Return the text of the model card."""
    metrics, section, model = tuned.metrics, tuned.section, tuned.checkpoint.model
    last = metrics[(metrics["split"] != "train") & (metrics["epoch"] == tuned.best_epoch)]
    classes = tuned.checkpoint.labels.classes[tuned.column]
    lines = [
        f"A transcriptomic foundation model of the `wced` pipeline, fine-tuned to predict `{tuned.column}`",
        "from the raw counts of human cells.",
        "",
        _HOW_TO.format(column=tuned.column),
        "",
        "## Fine-tuning",
        "",
        f"- started from: the checkpoint whose `model.safetensors` has the SHA-256 {base}",
        f"- mode: {section.mode}; {tuned.trained_parameters:,} trained parameters, in a model of "
        f"{model.num_parameters():,}",
        read_from(model.config),
        *(f"- {note}" for note in tuned.notes),
        f"- best epoch: {tuned.best_epoch} of at most {section.epochs}",
        "",
        "| split | metric | value |",
        "|---|---|---:|",
        *(f"| {row.split} | {row.metric} | {row.value:.4g} |" for row in last.itertuples()),
        "",
        "## Limits",
        "",
        f"Every cell is given one of {len(classes)} classes, whatever it is: {', '.join(classes[:20])}"
        + (f" and {len(classes) - 20} more." if len(classes) > 20 else "."),
        "The encoder is that of the checkpoint it started from."
        if section.mode == "frozen"
        else "The encoder was changed for these classes: embeddings say less about what does not tell them apart.",
    ]
    return sheet(tuned.name, lines, section)
