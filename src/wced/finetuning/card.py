"""The model card of a fine-tuned checkpoint."""

from typing import TYPE_CHECKING

from wced.pretraining.card import read_from, sheet

if TYPE_CHECKING:
    from wced.finetuning.train import Finetuned

_HOW_TO = """```python
import wced

wced.tl.embed(adata, "path/of/this/folder")      # adata.obsm["X_wced"]
wced.tl.annotate(adata, "path/of/this/folder", column="{column}")
```"""


def card(tuned: "Finetuned", base: str) -> str:
    """Return the text of README.md; `base` is the SHA-256 of the weights that fine-tuning started from."""
    metrics = tuned.metrics
    last = metrics[(metrics["split"] != "train") & (metrics["epoch"] == tuned.best_epoch)]
    changed = tuned.section.mode != "frozen"
    classes = tuned.checkpoint.labels.classes[tuned.column]
    return sheet(
        tuned.name,
        [
            f"A transcriptomic foundation model of the `wced` pipeline, fine-tuned to predict `{tuned.column}`",
            "from the raw counts of human cells.",
            "",
            _HOW_TO.format(column=tuned.column),
            "",
            "## Fine-tuning",
            "",
            f"- started from: the checkpoint whose `model.safetensors` has the SHA-256 {base}",
            f"- mode: {tuned.section.mode}; {tuned.trained_parameters:,} trained parameters, in a model of "
            f"{tuned.checkpoint.model.num_parameters():,}",
            read_from(tuned.checkpoint.model.config),
            *(f"- {note}" for note in tuned.notes),
            f"- best epoch: {tuned.best_epoch} of at most {tuned.section.epochs}",
            "",
            "| split | metric | value |",
            "|---|---|---:|",
            *(f"| {row.split} | {row.metric} | {row.value:.4g} |" for row in last.itertuples()),
            "",
            "## Limits",
            "",
            f"Every cell is given one of {len(classes)} classes, whatever it is: {', '.join(classes[:20])}"
            + (f" and {len(classes) - 20} more." if len(classes) > 20 else "."),
            "The encoder was changed for these classes: embeddings say less about what does not tell them apart."
            if changed
            else "The encoder is that of the checkpoint it started from.",
        ],
        tuned.section,
    )
