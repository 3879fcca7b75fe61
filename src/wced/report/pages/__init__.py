"""The page engine: the templates beside this file, figures with captions, and numbers as text."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from wced.files import existing

MOST_ROWS = 2000
"""Most rows of a table on a page; the file has all."""
CHARACTERS = 4_000_000
"""Room for figures in a page."""


@dataclass(frozen=True)
class Figure:
    """A figure as `wced.figures.save_figure` writes it."""

    title: str
    """Heading, and text for readers who cannot see the figure."""
    caption: str
    """What the figure shows."""
    svg: str
    """The image."""
    link: str
    """Path of its files from the page, without the endings `.svg`, `.pdf` and `.tsv`."""
    model: str = ""
    """Model that it is about; empty if the title names it or it is about several."""

    @cached_property
    def uri(self) -> str:
        """The image as a data URI, percent-encoded, which is a quarter smaller than base64."""
        one_line = re.sub(r"\s+", " ", self.svg)
        return "data:image/svg+xml," + quote(one_line, safe=" !$&'()*+,-./:;=?@_~")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in CSS pixels, which keep the page from jumping while figures load."""
        sides = (re.search(rf'<svg[^>]*\b{side}="([\d.]+)pt"', self.svg) for side in ("width", "height"))
        return tuple(round(float(side[1]) * 4 / 3) for side in sides)


def read_figure(path: Path, link: str, model: str = "") -> Figure:
    """Read a figure from its files `<path>.svg` and `<path>.md`; raise WcedError if one is missing."""
    text = existing(path.with_name(f"{path.name}.md"), "the caption of a figure").read_text(encoding="utf-8")
    svg = existing(path.with_name(f"{path.name}.svg"), "a figure").read_text(encoding="utf-8")
    title, _, caption = text.partition("\n")
    return Figure(title.removeprefix("# "), caption.strip(), svg, link, model)


class Budget:
    """Embeds figures in a page until its room is used up, and links to the files of the others."""

    def __init__(self, characters: int) -> None:
        self.left = characters
        self.linked = 0

    def source(self, figure: Figure) -> str:
        """Return the address of an image: its data, or the file beside the page."""
        if len(figure.uri) > self.left:
            self.linked += 1
            return f"{figure.link}.svg"
        self.left -= len(figure.uri)
        return figure.uri


def render(template: str, **values: Any) -> str:
    """Return the page of a template that extends `base.html`, which loads nothing from a network."""
    return environment().get_template(template).render(**values)


def environment(characters: int = CHARACTERS) -> Environment:
    """Return the environment of one page; `characters` are its room for figures."""
    pages = Environment(
        loader=PackageLoader(__name__, ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    pages.filters |= {"number": number, "raw": _raw, "slug": _slug, "count": _count, "contents": _contents}
    budget = Budget(characters)
    pages.globals |= {"source": budget.source, "budget": budget, "most_rows": MOST_ROWS}
    return pages


def _slug(text: str) -> str:
    """Return text as a part of an id: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _contents(main: str) -> list[tuple[str, str, str]]:
    """Return id, level of the heading and title of each section with an id."""
    return re.findall(r'<section id="(.+?)">\s*<h([23])>(.+?)</h', main)


def number(value: Any) -> str:
    """Return a value as a table shows it: thousands separated, at most three decimals, a dash for no value."""
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
    """Return the full number behind a table cell; empty if the cell shows it."""
    if isinstance(value, str | bool | np.bool_) or pd.isna(value):
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return "" if text == number(value) else text


def _count(n: int, unit: str) -> str:
    """Return a number of things in words: `1 row`, `2,000 rows`."""
    return f"{n:,} {unit if n == 1 else f'{unit}s'}"
