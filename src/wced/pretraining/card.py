"""The model card of a checkpoint folder: what it is, what it was trained on, how well it does."""

import pandas as pd
import yaml
from pydantic import BaseModel

from wced.config.pretraining import Checkpoint
from wced.model import WcedConfig, WcedModel
from wced.model.parameters import parameters_by_part
from wced.shards.cells import CellSource

HOW_TO = """```python
import wced

wced.tl.embed(adata, "path/of/this/folder")      # adata.obsm["X_wced"]
wced.tl.annotate(adata, "path/of/this/folder")   # with a cell type head
```"""


def sheet(name: str, lines: list[str], section: BaseModel) -> str:
    """Return a model card: front matter that model hubs read, a heading, some lines, and the settings of a section."""
    front = {"library_name": "wced", "tags": ["single-cell", "transcriptomics", "wced"], "license": "apache-2.0"}
    settings = yaml.safe_dump(section.model_dump(mode="json"), sort_keys=False).strip()
    head = ["---", yaml.safe_dump(front, sort_keys=False).strip(), "---", f"# {name}", ""]
    return "\n".join([*head, *lines, "", "## Settings", "", "```yaml", settings, "```", ""])


def read_from(config: WcedConfig) -> str:
    """Return the line that says what the embedding is read from, and where the losses read."""
    losses = ", ".join(f"{name} `{where}`" for name, where in (config.losses or {}).items())
    return f"- embedding: `{'+'.join(config.readout)}`; the losses that teach the encoder read: {losses or 'not known'}"


def start_card(name: str, section: Checkpoint, model: WcedModel) -> str:
    """Return README.md of the weights before the first step."""
    lines = [
        "The weights that the training of this model began with, its start from statistics of the training cells",
        "included. No step has changed them; what training adds is measured against them.",
        "",
        read_from(model.config),
    ]
    return sheet(f"{name}, step 0", lines, section)


def card(name: str, section: Checkpoint, model: WcedModel, shards: CellSource, metrics: pd.DataFrame) -> str:
    """Return the text of README.md: front matter that model hubs read, then what a person wants to know.

    Parameters
    ----------
    name, section
        The checkpoint and how it was trained.
    model
        What came out.
    shards
        What it was trained on.
    metrics
        Rows of `tables.METRICS`; those of the last validation are quoted.
    """
    last = metrics[(metrics["split"] == "validation") & (metrics["epoch"] == metrics["epoch"].max())]
    objectives = [*model.config.decoders, *(f"{head.column} ({head.loss})" for head in section.label_heads)]
    return sheet(
        name,
        [
            "A transcriptomic foundation model of the `wced` pipeline, which implements BMFM-RNA: give it raw counts",
            "of human cells, it gives embeddings, the expression of every gene, and labels.",
            "",
            HOW_TO,
            "",
            "## Training",
            "",
            f"- objectives: {', '.join(objectives)}",
            read_from(model.config),
            f"- corpus: {shards.count('train'):,} training and {shards.count('validation'):,} validation cells of "
            f"{len(shards.dataset_ids)} datasets; {len(shards.vocabulary):,} genes",
            f"- datasets: {', '.join(_first(shards.dataset_ids, 20))}",
            f"- epochs: {section.epochs}; cells in a batch of one process: {section.batch_size}",
            *(
                f"- up to step {before['step']} a training of {before['epochs']} epochs ({before['precision']}), which "
                "this one went on from: its learning rates were those of that end"
                for before in model.config.extended
            ),
            "",
            "| part | parameters |",
            "|---|---:|",
            *(f"| {part} | {count:,} |" for part, count in parameters_by_part(model).items()),
            "",
            "Last validation:",
            "",
            "| metric | value |",
            "|---|---:|",
            *(f"| {row.metric} | {row.value:.4g} |" for row in last.itertuples()),
            "",
            "## Limits",
            "",
            "Human cells and protein-coding genes only. Labels are those of the corpus: a cell type that it lacks is",
            "never predicted. Embeddings carry technical differences between datasets.",
        ],
        section,
    )


def _first(names: tuple[str, ...], n: int) -> list[str]:
    return [*names[:n], *([f"and {len(names) - n} more"] if len(names) > n else [])]
