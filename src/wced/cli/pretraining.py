"""Commands of the room `pretraining`."""

from pathlib import Path
from typing import Annotated

from wced.cli.embedding import CheckpointName, GeneColumn, Layer, MinGeneShare, RawCounts, UseRaw
from wced.cli.frame import Input, Option, Output, command, record
from wced.config.finetuning import Finetuning
from wced.config.pretraining import Pretraining
from wced.config.run import section as read_section
from wced.errors import WcedError
from wced.files import sha256


@command
def pretrain(
    index: Annotated[Path, Input("Index of the shards, which are beside it.")],
    section: Annotated[str, Option("Section `pretraining` of the config, as JSON or the path of a file.")],
    name: Annotated[str, Option("Which checkpoint of the section.")],
    state: Annotated[Path, Option("Folder for the state from which a killed training continues.")],
    output: Annotated[Path, Output("Folder to make.")],
    seed: Annotated[int, Option("Seed of weights, order and sequences.")] = 0,
    nodes: Annotated[int, Option("Machines of this Slurm job that share the devices.", min=1)] = 1,
) -> None:
    """Pretrain one checkpoint; after a kill the same command continues from the last saved state.

    With several devices it starts itself by torchrun, one process per device.
    """
    from wced.pretraining import launch
    from wced.shards.reader import folder_of

    settings = read_section(Pretraining, section)  # the text is an option of the processes that this one starts
    if name not in settings.checkpoints:
        raise WcedError(f"pretraining.checkpoints: no checkpoint {name}; there are {', '.join(settings.checkpoints)}")
    shards = folder_of(index)
    if settings.devices > 1 and not launch.launched():
        options = {"index": index, "state": state, "output": output, "section": section, "name": name}
        options |= {"seed": seed, "nodes": nodes}
        words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        launch.launch(["pretrain", *words], settings.devices, nodes)
        return
    if launch.launched():
        launch.end_with_parent()

    from wced.pretraining.train import pretrain as run

    if launch.rank() > 0:  # only the first process writes the record
        run(output, shards, state, settings, name, seed)
        return
    only = {"checkpoints": {name: settings.checkpoints[name].model_dump()}}
    with record(section=settings.model_dump() | only) as facts:
        facts.update(run(output, shards, state, settings, name, seed))


@command
def finetune(
    input: RawCounts,
    column: Annotated[str, Option("Column of obs to learn.")],
    checkpoint: CheckpointName,
    output: Annotated[Path, Output("Folder to make.")],
    section: Finetuning = "{}",
    name: Annotated[str, Option("Name of the result in its tables.")] = "finetuned",
    seed: Annotated[int, Option("Seed of the split, the head's weights, order and sequences.")] = 0,
    layer: Layer = None,
    use_raw: UseRaw = False,
    gene_column: GeneColumn = None,
    min_gene_share: MinGeneShare = 0.1,
) -> None:
    """Train a pretrained checkpoint on a column of labels, and write the model and its predictions."""
    from wced import h5ad
    from wced.checkpoint import found, load
    from wced.embedding.inputs import read_cells
    from wced.finetuning.result import write
    from wced.finetuning.train import finetune as tune

    folder = found(checkpoint)
    weights = folder / "model.safetensors"
    options = {"layer": layer, "use_raw": use_raw, "gene_column": gene_column, "min_gene_share": min_gene_share}
    recorded = {"finetuning": section.model_dump(), "column": column, "name": name, "seed": seed, **options}
    inputs = {"input": input, "weights": weights, "config": folder / "config.json"}
    with record(section=recorded, inputs=inputs) as facts:
        adata, loaded = h5ad.read(input), load(folder)
        try:
            cells = read_cells(adata, loaded, **options)
            print(cells.summary, flush=True)
            tuned = tune(cells, adata.obs, column, loaded, section, seed=seed, name=name)
        except WcedError as error:
            raise WcedError(f"{input}: {error}") from None
        write(tuned, output, base=sha256(weights))
        facts.update(
            input=cells.facts, cells=list(tuned.notes), best_epoch=tuned.best_epoch,
            trained_parameters=tuned.trained_parameters, parameters=tuned.checkpoint.model.num_parameters(),
        )  # fmt: skip
        print(*tuned.notes, f"best epoch: {tuned.best_epoch}", sep="\n")
