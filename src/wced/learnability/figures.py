"""All figures of gene learnability, in the manner of the BMFM-RNA paper's Figure 2, with the numbers behind each."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import matplotlib as mpl

from wced.config.learnability import Learnability
from wced.figures import STYLE
from wced.learnability.analysis import Analysis
from wced.learnability.family_figures import dynamics_figure, families_figure
from wced.learnability.figure_style import pair_name, slug
from wced.learnability.models import Model
from wced.learnability.winner_figures import pair_figure, programs_figure, winners_figure


def save_figures(analysis: Analysis, section: Learnability, folder: Path) -> None:
    """Write all figures into a folder, each as SVG, PDF, numbers (TSV) and caption (Markdown).

    Parameters
    ----------
    analysis
        What was found.
    section
        The choices of the analysis.
    folder
        Folder to write to.
    """
    with mpl.rc_context(STYLE):
        for model in analysis.models:
            families_figure(analysis, model, section, folder)
        dynamics_figure(analysis, section, folder)
        winners_figure(analysis, section, folder)
        programs_figure(analysis, folder)
        for a, b in combinations(analysis.models, 2):
            pair_figure(a, b, section, folder)


def figure_names(models: Sequence[Model]) -> list[str]:
    """Return the stems of the figures that `save_figures` writes, in the order of the page."""
    named = [f"families_{slug(model)}" for model in models]
    return [*named, "dynamics", "winners", "programs", *(pair_name(a, b) for a, b in combinations(models, 2))]
