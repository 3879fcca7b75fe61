"""What the pages of a run share: how they look, tables that sort, figures with captions, and numbers as text."""

import re
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from wced.files import existing

MOST_ROWS = 2000
"""Rows of a table that a page shows at most; the file has all."""


@dataclass(frozen=True)
class Drawing:
    """A figure as `wced.figures.save_figure` writes it."""

    title: str
    """Heading; also the text for who can not see the figure."""
    caption: str
    """What was done."""
    svg: str
    """The figure."""
    link: str
    """Its files as seen from the page, without their endings `.svg`, `.pdf` and `.tsv`."""
    of: str = ""
    """Model, or what else it is of; empty where the title says it."""

    @cached_property
    def uri(self) -> str:
        """The figure as a data URI. Percent-encoded it is a quarter smaller than in base64."""
        one_line = re.sub(r"\s+", " ", self.svg)
        return f"data:image/svg+xml,{quote(one_line, safe=_AS_IT_IS)}"

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in CSS pixels, so that the page does not jump while figures load; None where not said."""
        tag = re.search(r"<svg[^>]*>", self.svg)
        sides = [re.search(rf'\b{side}="([\d.]+)pt"', tag[0]) for side in ("width", "height")] if tag else [None]
        return None if None in sides else tuple(round(float(side[1]) * 4 / 3) for side in sides)


_AS_IT_IS = " !$&'()*+,-./:;=?@_~"
"""What may stand in a data URI as it is."""


def read_drawing(path: Path, link: str, of: str = "") -> Drawing:
    """Read a figure from its files `<path>.svg` and `<path>.md`.

    Parameters
    ----------
    path
        The files without their endings.
    link, of
        As in `Drawing`.

    Raises
    ------
    WcedError
        If one of the files is not there.
    """
    svg, said = path.with_name(f"{path.name}.svg"), path.with_name(f"{path.name}.md")
    title, _, caption = existing(said, "the caption of a figure").read_text(encoding="utf-8").partition("\n")
    svg = existing(svg, "a figure").read_text(encoding="utf-8")
    return Drawing(title.removeprefix("# "), caption.strip(), svg, link, of)


class Budget:
    """Puts figures into a page as long as there is room, in the page's order; the others are read from their files."""

    def __init__(self, characters: int) -> None:
        self.left = characters
        self.linked = 0

    def source(self, drawing: Drawing) -> str:
        """Return the address of a figure: its data, or the file beside the page."""
        if len(drawing.uri) > self.left:
            self.linked += 1
            return f"{drawing.link}.svg"
        self.left -= len(drawing.uri)
        return drawing.uri


def render(package: str, template: str, *, characters: int = 4_000_000, **values: Any) -> str:
    """Return a page that loads nothing from a network.

    Parameters
    ----------
    package
        Package that holds the template.
    template
        Name of the template, which extends `base.html`.
    characters
        Room for figures in the page; those that do not fit are shown from their files.
    values
        What the template is given.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(name, "") for name in (package, __name__)])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "raw": _raw, "is_number": _is_number, "slug": slug, "count": _count}
    budget = Budget(characters)
    environment.globals |= {"source": budget.source, "budget": budget, "most_rows": MOST_ROWS}
    here = resources.files(__name__)
    shared = {"style": (here / "style.css").read_text(), "script": (here / "tables.js").read_text()}
    return environment.get_template(template).render(**shared, **values)


def slug(text: str) -> str:
    """Return text as a part of an id: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def number(value: Any) -> str:
    """Return a value as a table shows it: thousands separated, three digits of fractions, a dash for no value."""
    if isinstance(value, str | bool | np.bool_):
        return str(value)
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if pd.isna(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == round(value) and abs(value) >= 1:
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _raw(value: Any) -> str:
    """Return the number that a cell stands for, where its text is another one; empty where they are the same."""
    if isinstance(value, str | bool | np.bool_) or pd.isna(value):
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return "" if text == number(value) else text


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _count(n: int, one: str, several: str = "") -> str:
    """Return a number of things in words: `1 row`, `2,000 rows`."""
    return f"{n:,} {one if n == 1 else several or f'{one}s'}"
