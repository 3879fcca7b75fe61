"""Commands of the room `learnability`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from wced.config import section as read_section
from wced.config.learnability import Learnability


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(learnability)


def learnability(
    folders: Annotated[list[Path], typer.Argument(help="Folders of pretrained checkpoints.")],
    section: Annotated[str, typer.Option("--section", help="Section of the config, as JSON.")],
    all_epochs: Annotated[Path, typer.Option(help="Errors of all epochs and checkpoints to write (Parquet).")],
    tables_folder: Annotated[Path, typer.Option("--tables", help="Folder to write the tables to.")],
    figures: Annotated[Path, typer.Option(help="Folder of figures to make.")],
    page: Annotated[Path, typer.Option(help="Page to write (HTML).")],
    annotation: Annotated[
        Path | None, typer.Option(help="Families and programs of genes, as `wced gene-annotation` writes them.")
    ] = None,
    run: Annotated[str, typer.Option(help="Name of the run, for the page.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws of blocks, shuffles and simulations.")] = 0,
):
    """Say which genes checkpoints learned to predict: tables, figures and a page, from their gene errors."""
    typed = read_section(Learnability, section)
    import pandas as pd

    from wced import tables
    from wced.errors import WcedError
    from wced.files import whole_file, whole_folder
    from wced.learnability.analysis import MADE, analyse
    from wced.learnability.checkpoint import MODEL_FILES, left_out, told_depth
    from wced.learnability.figures import save_figures
    from wced.learnability.page import render
    from wced.provenance import recorded

    inputs = {f"{folder.name}/{name}": folder / f"{name}.parquet" for folder in folders for name in _FILES}
    models = {f"{folder.name}/{name}": folder / "model" / name for folder in folders for name in MODEL_FILES}
    inputs |= {name: path for name, path in models.items() if path.exists()}
    if annotation is not None:
        inputs["annotation"] = annotation
    given = typed.model_dump() | {"seed": seed}
    also = [all_epochs, *(tables_folder / f"{table.name}.tsv" for table in MADE), figures]
    with recorded(page, command="learnability", section=given, inputs=inputs, seed=seed, also=also):
        frames, sums, unseen, deep = [], {}, {}, []
        for folder in folders:
            frames.append(tables.read(tables.GENE_ERRORS, folder / "gene_errors.parquet"))
            for name in frames[-1]["checkpoint"].unique():
                if name in sums:
                    raise WcedError(f"{folder}: its errors are of the checkpoint {name}, as those of another folder")
                sums[name] = folder / "gene_error_sums.parquet"
                unseen[name] = left_out(folder)
                deep += [name] if told_depth(folder) else []
        errors = pd.concat(frames, ignore_index=True)
        known = None if annotation is None else tables.read(tables.GENE_ANNOTATION, annotation)
        found = analyse(errors, sums, known, typed, seed, unseen)
        tables.write(errors, tables.GENE_ERRORS, all_epochs)
        for table in MADE:
            tables.write(found.tables[table.name], table, tables_folder / f"{table.name}.tsv")
        with whole_folder(figures) as folder:
            save_figures(found, typed, folder)
        links = [os.path.relpath(folder, page.parent) for folder in (figures, tables_folder)]
        html = render(found, typed, figures, run, figures_link=links[0], tables_link=links[1], deep=deep)
        with whole_file(page) as temporary:
            temporary.write_text(html)


_FILES = ("gene_errors", "gene_error_sums")
