import json
import re
from dataclasses import replace

import pytest

from learnability.conftest import SECTION, analysed
from learnability.simulated import annotation, write_checkpoint
from wced.learnability.figures import figure_names, save_figures
from wced.learnability.genes import told_depth
from wced.report.genes import _search_data, answers, differences, render


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Folder of two checkpoints, and the annotation of their genes."""
    folder, genes = tmp_path_factory.mktemp("checkpoints"), annotation(3000)
    identity = genes.index[genes["program"] == "identity"].to_numpy()
    write_checkpoint(folder / "w", genes, winners=identity[:50], strength=8)
    write_checkpoint(folder / "m", genes, winners=identity[10:60], strength=8, decoder="mlm", cells=2000)
    return folder, genes


@pytest.fixture(scope="module")
def analysis(checkpoints):
    return analysed(*checkpoints, ["w", "m"])


@pytest.fixture(scope="module")
def figures(analysis, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    save_figures(analysis, SECTION, folder)
    return folder


@pytest.fixture(scope="module")
def page(analysis, figures):
    return render(analysis, SECTION, figures, "demo", figures_link="../f", tables_link="../tables")


def test_figures_have_all_their_files_and_equal_bytes(analysis, figures, tmp_path):
    names = figure_names(analysis.models)
    files = {f"{name}.{end}" for name in names for end in ("svg", "pdf", "tsv", "md")}
    assert {path.name for path in figures.iterdir()} == files
    save_figures(analysis, SECTION, tmp_path)
    for name in files:
        assert (figures / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_page_loads_nothing_and_links_to_tables_and_figures(page):
    assert not re.search(r'(src|href)="(https?:)?//', page) and "@import" not in page
    assert 'href="../tables/gene_learnability.tsv"' in page and 'href="../f/winners.pdf"' in page
    assert page.count("<img ") == 6


def test_page_names_the_decoders_that_have_the_depth(analysis, figures, page, tmp_path):
    assert "Depth is an input" not in page
    deep = render(analysis, SECTION, figures, "demo", figures_link="../f", tables_link="../tables", deep=["w"])
    assert "the decoder of w was told the total count" in deep
    (tmp_path / "model").mkdir()
    for depth, known in ((None, False), ({"mean": 8.0, "sd": 1.0}, True)):
        (tmp_path / "model" / "config.json").write_text(json.dumps({"decoder_depth": depth}))
        assert told_depth(tmp_path) == known
    assert not told_depth(tmp_path / "elsewhere")


def test_search_has_every_gene(analysis, page):
    data = json.loads(re.search(r'id="genes-data">(.*?)</script>', page, re.DOTALL)[1])
    assert len(data["genes"]) == 3000 and data["models"] == ["w", "m"]
    table = analysis.tables["gene_learnability"].set_index(["checkpoint", "gene_id"])
    for gene, symbol, family, program, models in data["genes"][::500]:
        row, numbers = table.loc[("w", gene)], models[0]
        labels = (symbol, data["families"][family], data["programs"][program])
        assert labels == (row["gene_symbol"], row["family"], row["program"])
        assert numbers[0] == row["n_nonzero"] and data["calls"][numbers[8]] == row["call"]
        assert (numbers[7] is None) == (row["call"] == "not judged") and numbers[10] == row["reason"]


def test_sentences_have_the_numbers_of_the_run_and_of_the_paper(analysis):
    (name, sentences), *_ = answers(analysis, SECTION)
    text = " ".join(sentences)
    winners = int((analysis.tables["gene_learnability"].query("checkpoint == 'w'")["call"] == "winner").sum())
    assert name == "w" and f"{winners} (" in text and "paper: 909" in text and "paper: under 2%" in text
    assert "Identity genes are more often winners than unassigned genes" in text and "The paper: 2.36." in text
    assert "are judged by both" in dict(answers(analysis, SECTION))["w and m"][0]


def test_proxies_and_missing_annotation_are_named(analysis, checkpoints):
    def sentences(analysis, start):
        return [sentence for sentence in differences(analysis, SECTION) if sentence.startswith(start)]

    assert "housekeeping" in sentences(replace(analysis, proxies="housekeeping"), "Proxy:")[0]
    assert not sentences(analysis, "Proxy:")
    assert sentences(analysed(checkpoints[0], None, ["w"]), "Not annotated: 3,000 of 3,000")


def test_a_run_without_reliable_genes_has_figures_and_a_page(tmp_path):
    for name in ("w", "m"):
        write_checkpoint(tmp_path / name, annotation(40), cells=64, seed=len(name))
    few = analysed(tmp_path, annotation(40), ["w", "m"])
    save_figures(few, SECTION, tmp_path / "figures")
    html = render(few, SECTION, tmp_path / "figures", "", figures_link="f", tables_link="t")
    assert "0 of 40 genes are reliable" in html and "Few genes" in html


def test_no_symbol_ends_the_script(analysis):
    genes = analysis.tables["gene_learnability"].head(1).assign(gene_symbol="</script><b>")
    data = _search_data(replace(analysis, tables={**analysis.tables, "gene_learnability": genes}))
    assert "</" not in data and json.loads(data)["genes"][0][1] == "</script><b>"
