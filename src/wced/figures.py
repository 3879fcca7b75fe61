"""How all figures look, and how they are written: the same numbers give the same bytes."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from wced.files import whole_file

PALETTE = ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499")
"""Paul Tol's `muted` colours, which colour-blind readers can tell apart."""
OTHER = "#D0D0D0"
"""Colour of the classes that have none of their own."""
STYLE = {
    "svg.hashsalt": "wced",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "figure.dpi": 150,
}


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as SVG without a date, so that equal figures are equal files."""
    with mpl.rc_context(STYLE), whole_file(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None}, bbox_inches="tight", dpi=150)


def save_figure(folder: Path, name: str, figure: Any, *, title: str, caption: str, data: pd.DataFrame) -> None:
    """Write a matplotlib figure as SVG and PDF, with its caption and the numbers behind it.

    Parameters
    ----------
    folder
        Folder to write to; made when it is not there.
    name
        Stem of the files `<name>.svg`, `.pdf`, `.tsv` (the numbers) and `.md` (the caption).
    figure
        The matplotlib figure; it is closed.
    title
        Short heading; also the text for who can not see the figure.
    caption
        What was done, of how many cells, and what the colours mean.
    data
        The numbers that the figure shows.
    """
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    # No date and no random ids, so that the same figure gives the same bytes.
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None}, bbox_inches="tight")
    plt.close(figure)
    data.to_csv(folder / f"{name}.tsv", sep="\t", index=False, float_format="%.6g")
    (folder / f"{name}.md").write_text(f"# {title}\n\n{caption}\n")
