"""The page and its figures, made by the commands from the folder of a small made-up run."""

import json
import re
from html.parser import HTMLParser

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import typer
from scipy import sparse
from typer.testing import CliRunner

from wced import tables
from wced.benchmarks.job import task_module
from wced.cli import report as commands
from wced.config import check
from wced.errors import WcedError
from wced.report.page import read_results, render

TASKS = ["zero_shot_integration", "czi", "zero_shot_annotation"]
MODELS = ["one", "two", "hvg"]
RUN = {
    "run": "small",
    "genes": {"gencode": {"path": "g"}, "hgnc": {"path": "h"}},
    "census": {"datasets": ["corpus"]},
    "pretraining": {"checkpoints": {"one": {"wced": {}}, "two": {"mlm": {}}}},
    "embedding": {"datasets": ["held"], "baselines": ["hvg"]},
    "benchmarks": {task: {"datasets": ["held"]} for task in TASKS},
    "learnability": {"min_nonzero": 10},
}
EVIL = "<script>alert('T cell')</script>"


def row(table: tables.Table, **values) -> dict:
    blank = {"str": "x", "int": 1, "float": 0.5, "bool": True}
    return {column.name: values.get(column.name, blank[column.kind]) for column in table.columns}


def write_results(folder) -> None:
    """Write everything that the report reads, but for the figures."""
    rng = np.random.default_rng(0)
    for dataset in ("corpus", "held"):
        empty = ad.AnnData(X=sparse.csr_matrix((1, 1), dtype=np.float32))
        empty.uns = {"title": f"title of {dataset}", "citation": f"{EVIL} et al. 2020"}
        (folder / "corpus" / "sources").mkdir(parents=True, exist_ok=True)
        empty.write_h5ad(folder / "corpus" / "sources" / f"{dataset}.h5ad")
    qc = pd.DataFrame([row(tables.SOURCES_QC, dataset=dataset) for dataset in ("corpus", "held")])
    tables.write(qc, tables.SOURCES_QC, folder / "tables" / "sources_qc.tsv")
    corpus = [
        row(tables.CORPUS, level="dataset", dataset="corpus", cells_in=1200, train=1000, validation=190)
        | {"split_by": "donor"},
        row(tables.CORPUS, level="cell_type", dataset="all", term="CL:1", name=EVIL),
    ]
    tables.write(pd.DataFrame(corpus), tables.CORPUS, folder / "tables" / "corpus.tsv")
    selection = {
        tables.QC: [row(tables.QC, rule="low_counts", low=500, high=np.nan, removed=777)],
        tables.QC_HISTOGRAMS: [row(tables.QC_HISTOGRAMS, metric="counts", low=100, high=1000, cells=9, kept=5)],
        tables.SAMPLING: [row(tables.SAMPLING, stratum=text, cells_there=60) for text in ("a", "b")],
        tables.SPLIT: [row(tables.SPLIT, method="within 3 types of the optimum")],
        tables.SPLIT_EXCEPTIONS: [row(tables.SPLIT_EXCEPTIONS, name=EVIL)],
        tables.SKIPPED: [row(tables.SKIPPED, dataset="nowhere_to_be_found")],
        tables.LEAKAGE: [row(tables.LEAKAGE, dataset="held", by_hash=543)],
    }
    for table, rows in selection.items():
        tables.write(pd.DataFrame(rows), table, folder / "tables" / f"{table.name}.tsv")
    for task in TASKS:
        rows = [
            row(tables.SCORES, task=task, dataset="held", model=model, metric=metric.name, n=321)
            | {"value": i / 10, "ci_method": "", "reason": ""}
            for i, model in enumerate(MODELS)
            for metric in task_module(task).METRICS
        ]
        frame = pd.DataFrame(rows)
        if task == "zero_shot_annotation":
            frame.loc[frame["model"] == "hvg", ["value", "reason"]] = [np.nan, "no ontology head"]
        tables.write(frame, tables.SCORES, folder / "tables" / f"{task}.tsv")
    for place, name in (("zero_shot_annotation/held.one", "flow"), ("comparison", "pareto")):
        figures = folder / "benchmarks" / f"{place}.figures"
        figures.mkdir(parents=True)
        (figures / f"{name}.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        (figures / f"{name}.md").write_text(f"# A {name} of {EVIL}\n\nOf nine cells.\n")
    same = {"task": "zero_shot_integration", "reason": ""}
    ranks = [
        row(tables.RANKING, metric=metric, dataset=dataset, z=z) | same
        for metric, dataset, z in (("avg_bio", "all", 0.444), ("avg_bio", "held", 0.445), ("nmi", "all", 0.446))
    ]
    tables.write(pd.DataFrame(ranks), tables.RANKING, folder / "tables" / "ranking.tsv")
    pair = row(tables.COMPARISONS, metric="avg_bio", difference=0.4567) | same
    tables.write(pd.DataFrame([pair]), tables.COMPARISONS, folder / "tables" / "comparisons.tsv")
    errors, metrics = [], []
    for checkpoint in ("one", "two"):
        for gene in range(30):
            n_nonzero = 3 * gene + 5
            errors.append(
                row(tables.GENE_ERRORS, checkpoint=checkpoint, decoder="wced", gene_id=f"g{gene}", n=100,
                    n_nonzero=n_nonzero, zero_fraction=1 - n_nonzero / 100,
                    rescaled_mae=rng.uniform(0.1, 1), rescaled_null_mae=0.5)
            )  # fmt: skip
        for epoch in (1, 2):
            for metric in ("loss", "detection", "cell_type_ontology_term_id_accuracy"):
                metrics += [
                    (checkpoint, split, epoch, 10 * epoch, metric, 1 / epoch) for split in ("train", "validation")
                ]
    tables.write(pd.DataFrame(errors), tables.GENE_ERRORS, folder / "tables" / "gene_errors.tsv")
    metrics = pd.DataFrame(metrics, columns=[column.name for column in tables.METRICS.columns])
    for checkpoint, rows in metrics.groupby("checkpoint"):
        tables.write(rows, tables.METRICS, folder / f"{checkpoint}.tsv")
    for table in (tables.LEARNABILITY, tables.LEARNABILITY_SUMMARY, tables.TIMINGS):
        tables.write(pd.DataFrame([row(table)]), table, folder / "tables" / f"{table.name}.tsv")
    coordinates = pd.DataFrame(
        [
            row(tables.UMAP, dataset="held", model=model, cell=f"c{i}", cell_type=f"type {i % 12}", batch=f"b{i % 2}",
                umap_1=rng.normal(), umap_2=rng.normal())
            for model in MODELS for i in range(40)
        ]
    )  # fmt: skip
    tables.write(coordinates, tables.UMAP, folder / "held.parquet")


def invoke(*given) -> None:
    app = typer.Typer()
    commands.register(app)
    assert CliRunner().invoke(app, [str(part) for part in given], catch_exceptions=False).exit_code == 0


def draw(folder, output) -> None:
    invoke("figures", "--umap", folder / "held.parquet", "--metrics", folder / "one.tsv", "--metrics",
           folder / "two.tsv", "--gene-errors", folder / "tables" / "gene_errors.tsv", "--min-nonzero", 10,
           "--qc", folder / "tables" / "qc.tsv", "--qc-histograms", folder / "tables" / "qc_histograms.tsv",
           "--output", output)  # fmt: skip


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


GENES = "genes.html"
"""The page of the genes, which stands beside this one."""


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text of every table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.open, self.tables = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if "table" in self.open:
            self.tables[-1] += f" {data.strip()}"


def test_page_is_whole_html_that_loads_nothing(page):
    reader = Reader(page)
    assert not reader.open
    assert not [tag for tag, _ in reader.tags if tag in ("script", "link", "iframe", "object", "embed", "base")]
    for _, attributes in reader.tags:
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#") or attributes["href"] == GENES
    assert "@import" not in page and not re.search(r"url\(", page)


def test_every_link_has_its_place(page):
    tags = Reader(page).tags
    places = {attributes["id"] for _, attributes in tags if "id" in attributes}
    links = {attributes["href"] for tag, attributes in tags if tag == "a"}
    assert links == {f"#{place}" for place in places} | {GENES}


def test_labels_are_escaped(page):
    assert EVIL not in page
    assert page.count("&lt;script&gt;") >= 3


def test_all_tables_and_figures_are_there(page):
    reader = Reader(page)
    for expected in ("title of held", "cells dropped filter", "unknown in validation", "AvgBatch", "F1, logistic",
                     "Same lineage", "median rescaled mae", "improvement", "low_counts", "777", "120",
                     "within 3 types", "max rss mb", "leakage", "543", "nowhere_to_be_found", "0.444",
                     "0.457"):  # fmt: skip
        assert any(expected in text for text in reader.tables), expected
    assert not any("0.445" in text or "0.446" in text for text in reader.tables)  # headline metrics over all datasets
    assert sum(tag == "img" for tag, _ in reader.tags) == 7
    assert all(attributes["alt"] for tag, attributes in reader.tags if tag == "img")


def test_the_text_says_what_was_done(page):
    assert "1,000 cells to train on and 190 to validate on, of 1,200." in page
    assert "Split by donor: corpus." in page
    assert "the best trained model is two (0.100), 0.100 WORSE than the best baseline, hvg (0.200)" in page
    assert "no ontology head" in page and "n = 321" in page
    assert "min_nonzero: 10" in page  # the config


def test_published_numbers_stand_below_those_of_the_run(results, tmp_path):
    row = {"table": "Table 6", "task": "zero_shot_integration", "dataset": "held", "model": "Paper's", "value": 0.987}
    published = pd.DataFrame([row | {"metric": "avg_bio", "protocol": "zero-shot", "note": ""}])
    tables.write(published, tables.PUBLISHED, tmp_path / "table_6.tsv")
    run = check({**RUN, "report": {"published": str(tmp_path)}})
    page = render(read_results(results, run), run)
    assert re.search(r'<tr class="published"><th>Paper&#39;s \(published\)<sup>b</sup></th>.*0\.987', page)
    assert "<sup>b</sup> Table 6 of the paper: zero-shot." in page


def test_figures_of_a_benchmark_stand_below_it_with_their_captions(page):
    assert "<summary>Figures: held (1)</summary>" in page
    assert re.search(r"<strong>A flow of &lt;script.*</strong> \(one\)\. Of nine cells\.</figcaption>", page)


def test_a_run_without_benchmarks_has_a_page(results):
    run = check({**RUN, "benchmarks": {}})
    page = render(read_results(results, run), run)
    assert "Zero-shot" not in page and "Models compared" not in page


def test_the_same_run_gives_the_same_bytes(results, page, tmp_path):
    draw(results, tmp_path / "figures")
    again = sorted((tmp_path / "figures").glob("*.svg"))
    assert [path.name for path in again] == [
        "genes.svg", "losses.svg", "qc.svg", "umap_held_batch.svg", "umap_held_cell_type.svg"
    ]  # fmt: skip
    for path in again:
        assert path.read_bytes() == (results / "report" / "figures" / path.name).read_bytes(), path.name
    run = check(RUN)
    assert render(read_results(results, run), run) == page


def test_what_is_missing_is_named(results):
    run = check({**RUN, "embedding": {**RUN["embedding"], "datasets": ["held", "absent"]}})
    with pytest.raises(WcedError, match=r"absent\.h5ad"):
        read_results(results, run)
