"""The page and its figures, made by the commands from the folder of a small made-up run."""

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from report.made_run import EVIL, RUN, draw, invoke, write_results
from wced import tables
from wced.config import check
from wced.errors import WcedError
from wced.report.page import render


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_results(folder)
    draw(folder, folder / "report" / "figures")
    return folder


@pytest.fixture(scope="module")
def page(results):
    invoke("report", "--folder", results, "--section", json.dumps(RUN), "--output", results / "report" / "index.html")
    return (results / "report" / "index.html").read_text()


class Reader(HTMLParser):
    """Collects tags with their attributes, the text of every table, and headings."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.open, self.tables, self.headings = [], [], {}, []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        if tag == "div" and attributes.get("class") == "table":
            self.tables[attributes["id"].removeprefix("table-")] = ""
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if "table" in self.open:
            self.tables[list(self.tables)[-1]] += f" {data.strip()}"

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_page_is_whole_html_that_loads_nothing_and_escapes_labels(page):
    reader = Reader(page)
    assert not reader.open
    assert not [tag for tag, _ in reader.tags if tag in ("iframe", "object", "embed", "base")]
    assert not any("src" in attributes for attributes in reader.all("script"))
    assert all(attributes["src"].startswith("data:") for attributes in reader.all("img"))
    assert [attributes["href"] for attributes in reader.all("link")] == ["data:,"]
    own = re.sub(r'"data:image[^"]*"', "", page)
    assert "@import" not in own and "url(" not in own
    assert EVIL not in page and page.count("&lt;script&gt;") >= 3


def test_every_link_has_its_id_or_its_file(results, page):
    reader = Reader(page)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for attributes in reader.all("a")}
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    beside = {link for link in links if not link.startswith("#")} - {"genes.html"}
    there = {path for path in beside if (results / "report" / path).exists()}
    # The made-up figures have only two of their files.
    made_up = re.compile(r"(flow|pareto|ablation|winners|programs|dynamics)\.(pdf|tsv)$")
    assert all(made_up.search(path) for path in beside - there)
    for name in ("figures/losses.pdf", "figures/umap_held_batch.tsv", "tables/timings.tsv", "ablation/ablation.svg"):
        assert any(path.endswith(name) for path in there), name


def test_headings_are_in_order_and_scrolling_boxes_can_be_reached(page):
    reader = Reader(page)
    assert reader.headings[0] == 1 and reader.headings.count(1) == 1
    assert all(below <= above + 1 for above, below in zip(reader.headings, reader.headings[1:], strict=False))
    boxes = [attributes for attributes in reader.all("div") if attributes.get("class") == "scroll"]
    titles = {attributes.get("id") for attributes in reader.all("p")}
    assert boxes and all(box["tabindex"] == "0" and box["aria-labelledby"] in titles for box in boxes)
    assert all(attributes["alt"] for attributes in reader.all("img"))
    assert all(attributes.get("scope") in ("col", "row") for attributes in reader.all("th"))


TABLES = {
    "datasets": "title of held", "harmonised": "cells dropped filter", "corpus-dataset": "unknown in validation",
    "qc-rules": "777", "sampling": "120", "split-units": "within 3 types", "shards": "5ad5ad", "checkpoints": "54,321",
    "models": "leakage", "leakage": "543", "zero-shot-integration-1": "AvgBatch", "czi-1": "F1, logistic",
    "zero-shot-annotation-1": "Lineage known", "ranking": "0.444", "comparisons": "0.457", "ablation-effects": "0.346",
    "ablation": "objective=WCED", "learnability-summary": "median rescaled mae", "learnability": "improvement",
    "timings": "max rss mb", "origins": "c0ffee", "outputs": "tables/leakage.tsv", "packages": "9.8, 9.9",
    "skipped": "nowhere_to_be_found", "missing": "no ontology head",
}  # fmt: skip


@pytest.mark.parametrize(("table", "expected"), TABLES.items())
def test_each_stage_has_its_tables(page, table, expected):
    assert expected in Reader(page).tables[table]


def test_only_headline_metrics_over_all_datasets_are_ranked(page):
    assert "0.445" not in Reader(page).tables["ranking"] and "0.446" not in Reader(page).tables["ranking"]


def test_figures_are_in_the_page_with_captions_and_files(page):
    alts = [attributes["alt"] for attributes in Reader(page).all("img")]
    expected = ["Counts, genes", "Losses", "UMAPs of held by cell type", "UMAPs of held by batch", "A flow", "A pareto",
                "A ablation", "Gene errors", "A winners", "A programs", "A dynamics"]  # fmt: skip
    assert [alt.startswith(start) for alt, start in zip(alts, expected, strict=True)] == [True] * len(expected)
    assert page.count("<figcaption>") == len(alts)
    assert "<summary>Figures: held (1)</summary>" in page
    assert re.search(r"<strong>A flow of &lt;script.*</strong> \(one\)\. Of nine cells\.", page)
    assert 'width="120" height="40"' in page


def test_the_text_describes_the_run(page):
    assert "1,000 cells to train on and 190 to validate on, of 1,200." in page
    assert "Split by donor: corpus." in page
    assert "the best trained model is two (0.100), 0.100 WORSE than the best baseline, hvg (0.200)" in page
    assert "no ontology head" in page and "n = 321" in page
    assert "min_nonzero: 10" in page  # the config
    assert "the decoder of one was told the total count" in page


def test_the_first_paragraph_says_which_model_to_use(page):
    start = page[page.index('<section id="summary">') : page.index('<dl class="facts">')]
    uses = re.findall(r"<li><strong>(.*?)</strong><ul><li>(.*?)</ul>", start)
    leaked = "(on held [LEAKED])"
    assert [use for use, _ in uses] == [
        f"To cluster or browse the cells of a new dataset without labels {leaked}",
        f"To name cell types with no labels at all {leaked}",
        f"To train a classifier on labels of your own {leaked}",
    ]
    # Untrained is the mean over two seeds, and hvg has no head.
    first = "Training did not make one clearly better than untrained weights (untrained), by "
    assert all(text.startswith(first) for _, text in uses)
    hvg = "Use hvg (no pretraining): better than two, the best model trained here, by "
    two = "Use two: better than untrained (no pretraining), by "
    assert all(use in text for (_, text), use in zip(uses, (hvg, two, hvg), strict=True))


def test_seeds_of_untrained_weights_are_one_row_with_a_note(page):
    scores = Reader(page).tables["zero-shot-integration-1"]
    assert "untrained_1" not in scores and "0.040 0.020 to 0.060" in scores
    assert "mean over 2 samples of untrained weights (seeds 0, 1)" in page


def test_published_numbers_are_below_those_of_the_run(results, tmp_path):
    row = {"table": "Table 6", "task": "zero_shot_integration", "dataset": "held", "model": "Paper's", "value": 0.987}
    published = pd.DataFrame([row | {"metric": "avg_bio", "protocol": "zero-shot", "note": ""}])
    tables.write(published, tables.PUBLISHED, tmp_path / "table_6.tsv")
    run = check({**RUN, "report": {"published": str(tmp_path)}})
    page = render(results, run)
    assert re.search(r'<tr class="published"><th scope="row">Paper&#39;s \(published\)<sup>c</sup></th>.*0\.987', page)
    assert "<sup>c</sup> Table 6 of the paper: zero-shot." in page


def test_a_run_without_benchmarks_and_ablation_has_a_page(results):
    run = check({**RUN, "benchmarks": {}, "ablation": None})
    page = render(results, run)
    assert "Zero-shot" not in page and "Comparisons" not in page and "Ablation" not in page
    assert "This run scores no benchmark." in page
    links = {attributes["href"] for attributes in Reader(page).all("a")}
    assert not {"#comparisons", "#ablation"} & links


def test_the_same_run_gives_the_same_bytes(results, page, tmp_path):
    draw(results, tmp_path / "figures")
    again = sorted(tmp_path.glob("figures/*"))
    names = ["genes", "losses", "qc", "umap_held_batch", "umap_held_cell_type"]
    assert [path.name for path in again] == [f"{name}.{end}" for name in names for end in ("md", "pdf", "svg", "tsv")]
    for path in again:
        assert path.read_bytes() == (results / "report" / "figures" / path.name).read_bytes(), path.name
    run = check(RUN)
    assert render(results, run) == page


def test_a_missing_file_is_named(results):
    run = check({**RUN, "embedding": {**RUN["embedding"], "datasets": ["held", "absent"]}})
    with pytest.raises(WcedError, match=r"absent\.h5ad: no such file; expected a harmonised"):
        render(results, run)


def test_a_damaged_record_is_named(results, tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "index.json").write_text("{")
    with pytest.raises(WcedError, match=r"index\.json: not JSON .* delete it"):
        render(tmp_path, check(RUN))
