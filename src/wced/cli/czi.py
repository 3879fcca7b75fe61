"""The command that fetches datasets of cz-benchmarks."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command `czi-dataset`."""
    app.command("czi-dataset")(czi_dataset)


def czi_dataset(
    name: Annotated[str, typer.Argument(help="Name of the dataset in cz-benchmarks, such as tsv2_lung.")],
    output: Annotated[Path, typer.Option(help="File to write (h5ad), as the row of the table of datasets names it.")],
) -> None:
    """Download a dataset of cz-benchmarks by its name; needs the internet."""
    from wced.corpus.czi import download_czi_dataset
    from wced.provenance import recorded

    with recorded(output, command="czi-dataset", section={"name": name}, inputs={}):
        download_czi_dataset(name, output)
