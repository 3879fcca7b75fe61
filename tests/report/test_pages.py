import re
import sys

import numpy as np
import pandas as pd
import pytest

from wced.errors import WcedError
from wced.report import pages
from wced.report.pages import Budget, Drawing, number, read_drawing, slug

SVG = '<?xml version="1.0"?>\n<svg height="30pt" version="1.1" width="90pt">\n <text>50% "a" &lt; #b</text>\n</svg>'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<b>", "<b>"),
        (True, "True"),
        (1234567, "1,234,567"),
        (np.int64(-2), "-2"),
        (float("nan"), "–"),
        (np.inf, "∞"),
        (0.0, "0.000"),
        (0.12345, "0.123"),
        (0.00012, "1.2e-04"),
        (-0.00012, "-1.2e-04"),
        (12.345, "12.3"),
        (1234.5678, "1,234.6"),
        (2.0, "2"),
    ],
)
def test_numbers_as_a_reader_wants_them(value, text):
    assert number(value) == text


def test_slugs_are_parts_of_ids():
    assert slug("zero_shot: AvgBio (1)") == "zero-shot-avgbio-1"


def test_a_figure_is_read_with_title_caption_and_size(tmp_path):
    (tmp_path / "a.b.svg").write_text(SVG)
    (tmp_path / "a.b.md").write_text("# A title\n\nWhat it shows.\n")
    drawing = read_drawing(tmp_path / "a.b", "../x/a.b", "model")
    assert (drawing.title, drawing.caption, drawing.of) == ("A title", "What it shows.", "model")
    assert drawing.size == (120, 40)
    (tmp_path / "a.b.md").unlink()
    with pytest.raises(WcedError, match=r"a\.b\.md: no such file; expected the caption"):
        read_drawing(tmp_path / "a.b", "../x/a.b")


def test_a_data_uri_holds_the_figure_and_nothing_that_ends_an_attribute():
    from urllib.parse import unquote

    uri = Drawing("t", "c", SVG, "l").uri
    assert uri.startswith("data:image/svg+xml,") and not set(uri) & set('"<>#\n')
    assert unquote(uri).removeprefix("data:image/svg+xml,") == re.sub(r"\s+", " ", SVG)


def test_figures_are_put_into_the_page_while_there_is_room():
    drawing = Drawing("t", "c", SVG, "../x/a")
    budget = Budget(2 * len(drawing.uri))
    assert [budget.source(drawing)[:5] for _ in range(3)] == ["data:", "data:", "../x/"]
    assert budget.linked == 1


@pytest.fixture
def template(tmp_path, monkeypatch):
    """Give a function that renders a template's text."""
    (tmp_path / "made_page").mkdir()
    (tmp_path / "made_page" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "made_page", raising=False)

    def render(text: str, **values) -> str:
        (tmp_path / "made_page" / "page.html").write_text(
            '{% extends "base.html" %}{% from "macros.html" import figure, table %}{% block main %}'
            f"{text}{{% endblock %}}"
        )
        return pages.render("made_page", "page.html", contents=[], **values)

    return render


def test_a_table_says_that_it_is_cut_and_keeps_numbers_in_full(template):
    frame = pd.DataFrame({"gene_id": "<i>", "value": np.arange(pages.MOST_ROWS + 5) + 0.123456})
    html = template('{{ table(frame, "genes", "Genes", "../tables/g.tsv") }}', frame=frame)
    assert html.count("<tr>") == pages.MOST_ROWS + 1 and "&lt;i&gt;" in html and "<i>" not in html
    assert f"The first {pages.MOST_ROWS:,} of {pages.MOST_ROWS + 5:,} rows" in html
    assert '<td class="num" data-v="0.123456">0.123</td>' in html
    assert '<a class="file" href="../tables/g.tsv" download>g.tsv</a>' in html


def test_a_whole_table_says_nothing_of_being_cut(template):
    html = template('{{ table(frame, "genes", "Genes") }}', frame=pd.DataFrame({"n": [1]}))
    assert "The first" not in html and "data-v" not in html.partition("<script")[0]


def test_a_figure_that_does_not_fit_is_shown_from_its_file(template):
    drawing = Drawing("T", "C", SVG, "../x/a")
    html = template("{{ figure(drawing) }}", drawing=drawing, characters=10)
    assert '<img src="../x/a.svg" alt="T" width="120" height="40" loading="lazy">' in html
    assert all(f'href="../x/a.{end}"' in html for end in ("svg", "pdf", "tsv"))
