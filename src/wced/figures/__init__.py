"""The look of all figures, and how they are written: the same numbers give the same bytes."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

PALETTE = ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499")
"""Paul Tol's `muted` colours, which colour-blind readers can tell apart."""
INDIGO, ROSE, GREEN, SAND, CYAN, WINE, TEAL, OLIVE, PURPLE = PALETTE
OTHER = "#D0D0D0"
"""Colour of all classes without their own."""
LINE = "#777777"
"""Colour of lines that only help to read a figure."""
STYLE = {
    "svg.hashsalt": "wced",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.7,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "scatter.edgecolors": "none",
    "figure.constrained_layout.use": True,
    "figure.dpi": 150,
    "savefig.bbox": "tight",
}
styled = mpl.rc_context(STYLE)
"""Decorator of functions that make figures, which gives them all the same style."""
DOT = {"marker": "o", "ls": "", "ms": 5, "mew": 0}
"""A dot in a legend, without its colour."""


@styled
def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG or PDF, without a date, so that equal figures are equal files."""
    figure.savefig(path, metadata={"Date" if path.suffix == ".svg" else "CreationDate": None})


def save_figure(folder: Path, name: str, figure: Figure, *, title: str, caption: str, data: pd.DataFrame) -> None:
    """Write a figure into a folder: `<name>.svg`, `.pdf`, its numbers (`.tsv`), and its title and caption (`.md`).

    The title is also the text for readers who cannot see the figure. The caption says what was done, on how many cells,
    and what the colours mean.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("svg", "pdf"):
        save(figure, folder / f"{name}.{kind}")
    data.to_csv(folder / f"{name}.tsv", sep="\t", index=False, float_format="%.6g")
    (folder / f"{name}.md").write_text(f"# {title}\n\n{caption}\n")
