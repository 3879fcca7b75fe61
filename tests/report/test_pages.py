import re
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from wced.errors import WcedError
from wced.report import pages
from wced.report.pages import Figure, number, read_figure

SVG = '<?xml version="1.0"?>\n<svg height="30pt" version="1.1" width="90pt">\n <text>50% "a" &lt; #b</text>\n</svg>'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<b>", "<b>"), (True, "True"), (1234567, "1,234,567"), (np.int64(-2), "-2"), (float("nan"), "–"),
        (np.inf, "∞"), (0.0, "0.000"), (0.12345, "0.123"), (0.00012, "1.2e-04"), (-0.00012, "-1.2e-04"),
        (12.345, "12.3"), (1234.5678, "1,234.6"), (2.0, "2"),
    ],
)  # fmt: skip
def test_numbers_as_text(value, text):
    assert number(value) == text


def test_a_figure_is_read_with_title_caption_and_size(tmp_path):
    (tmp_path / "a.b.svg").write_text(SVG)
    (tmp_path / "a.b.md").write_text("# A title\n\nWhat it shows.\n")
    figure = read_figure(tmp_path / "a.b", "../x/a.b", "model")
    assert (figure.title, figure.caption, figure.model) == ("A title", "What it shows.", "model")
    assert figure.size == (120, 40)
    (tmp_path / "a.b.md").unlink()
    with pytest.raises(WcedError, match=r"a\.b\.md: no such file; expected the caption"):
        read_figure(tmp_path / "a.b", "../x/a.b")


def test_a_data_uri_holds_the_figure_and_nothing_that_ends_an_attribute():
    uri = Figure("t", "c", SVG, "l").uri
    assert uri.startswith("data:image/svg+xml,") and not set(uri) & set('"<>#\n')
    assert unquote(uri).removeprefix("data:image/svg+xml,") == re.sub(r"\s+", " ", SVG)


def render(text: str, characters: int = pages.CHARACTERS, **values) -> str:
    """Return a page whose main block is a template's text."""
    start = '{% extends "base.html" %}{% from "macros.html" import plots, table %}{% block main %}'
    return pages.environment(characters).from_string(f"{start}{text}{{% endblock %}}").render(**values)


def test_contents_are_the_headings_of_sections_with_ids():
    html = render('<section id="a-b">\n<h2>A &amp; b</h2>\n<h3>no section</h3>\n</section>')
    contents = html.partition("<nav")[2].partition("</nav>")[0]
    assert re.findall("<li.*</li>", contents) == ['<li class="level-2"><a href="#a-b">A &amp; b</a></li>']
    assert render('{{ "zero_shot: AvgBio (1)"|slug }}').count("zero-shot-avgbio-1") == 1


def test_a_truncated_table_says_so_and_keeps_full_numbers():
    frame = pd.DataFrame({"gene_id": "<i>", "value": np.arange(pages.MOST_ROWS + 5) + 0.123456})
    html = render('{{ table(frame, "genes", "Genes", "../tables/g.tsv") }}', frame=frame)
    assert html.count("<tr>") == pages.MOST_ROWS + 1 and "&lt;i&gt;" in html and "<i>" not in html
    assert f"The first {pages.MOST_ROWS:,} of {pages.MOST_ROWS + 5:,} rows" in html
    assert '<td class="num" data-v="0.123456">0.123</td>' in html
    assert '<a class="file" href="../tables/g.tsv" download>g.tsv</a>' in html


def test_a_whole_table_has_no_note_on_truncation():
    html = render('{{ table(frame, "genes", "Genes") }}', frame=pd.DataFrame({"n": [1]}))
    assert "The first" not in html and "data-v" not in html.partition("<script")[0]


def test_figures_are_embedded_while_there_is_room_and_then_linked():
    figure = Figure("T", "C", SVG, "../x/a")
    html = render("{{ plots([figure] * 3) }}{{ budget.linked }} linked", 2 * len(figure.uri), figure=figure)
    assert [source[:5] for source in re.findall('<img src="(.*?)"', html)] == ["data:", "data:", "../x/"]
    assert '<img src="../x/a.svg" alt="T" width="120" height="40" loading="lazy">' in html and "1 linked" in html
    assert all(f'href="../x/a.{end}"' in html for end in ("svg", "pdf", "tsv"))
