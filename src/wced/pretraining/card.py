"""The model card of a checkpoint folder: what it is, what it was trained on, how well it does."""

import pandas as pd
import yaml
from pydantic import BaseModel

from wced.config.pretraining import Checkpoint
from wced.model import WcedConfig, WcedModel
from wced.shards.cells import CellSource

CARD = """\
A transcriptomic foundation model of the `wced` pipeline, which implements BMFM-RNA: give it raw counts
of human cells, it gives embeddings, the expression of every gene, and labels.

```python
import wced

wced.tl.embed(adata, "path/of/this/folder")      # adata.obsm["X_wced"]
wced.tl.annotate(adata, "path/of/this/folder")   # with a cell type head
```

## Training

- objectives: {objectives}
{readout}
- corpus: {train:,} training and {validation:,} validation cells of {n_datasets} datasets; {genes:,} genes
- datasets: {datasets}
- epochs: {epochs}; cells in a batch of one process: {batch_size}{extended}

| part | parameters |
|---|---:|
{parameters}

Last validation:

| metric | value |
|---|---:|
{metrics}

## Limits

Human cells and protein-coding genes only. Labels are those of the corpus: a cell type that it lacks is
never predicted. Embeddings carry technical differences between datasets."""

STEP_0 = """\
The weights that the training of this model began with, its start from statistics of the training cells
included. No step has changed them; what training adds is measured against them.

{readout}"""


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
    return sheet(f"{name}, step 0", [STEP_0.format(readout=read_from(model.config))], section)


def card(name: str, section: Checkpoint, model: WcedModel, shards: CellSource, metrics: pd.DataFrame) -> str:
    """Return README.md of a trained model; of the rows of `tables.METRICS` it quotes the last validation."""
    last = metrics[(metrics["split"] == "validation") & (metrics["epoch"] == metrics["epoch"].max())]
    objectives = [*model.config.decoders, *(f"{head.column} ({head.loss})" for head in section.label_heads)]
    more = len(shards.dataset_ids) - 20
    text = CARD.format(
        objectives=", ".join(objectives),
        readout=read_from(model.config),
        train=shards.count("train"),
        validation=shards.count("validation"),
        n_datasets=len(shards.dataset_ids),
        genes=len(shards.vocabulary),
        datasets=", ".join([*shards.dataset_ids[:20], *([f"and {more} more"] if more > 0 else [])]),
        epochs=section.epochs,
        batch_size=section.batch_size,
        extended="".join(
            f"\n- up to step {before['step']} a training of {before['epochs']} epochs ({before['precision']}), which "
            "this one went on from: its learning rates were those of that end"
            for before in model.config.extended
        ),
        parameters="\n".join(f"| {part} | {count:,} |" for part, count in model.parameters_by_part().items()),
        metrics="\n".join(f"| {row.metric} | {row.value:.4g} |" for row in last.itertuples()),
    )
    return sheet(name, [text], section)
