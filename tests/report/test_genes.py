import json
import re

import pytest

from learnability.conftest import SECTION, analysed
from wced.learnability.figures import figure_names, save_figures
from wced.learnability.genes import told_depth
from wced.report.gene_answers import answers, differences
from wced.report.genes import render


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    save_figures(found, SECTION, folder)
    return folder, render(found, SECTION, folder, "demo", figures_link="../f", tables_link="../tables")


def test_figures_have_all_their_files_and_equal_bytes(found, page, tmp_path):
    folder, _ = page
    names = figure_names(found.models)
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{end}" for name in names for end in ("svg", "pdf", "tsv", "md")
    }
    save_figures(found, SECTION, tmp_path)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_page_loads_nothing_and_links_to_tables_and_figures(page):
    _, html = page
    assert not re.search(r'(src|href)="(https?:)?//', html) and "@import" not in html
    assert 'href="../tables/gene_learnability.tsv"' in html and 'href="../f/winners.pdf"' in html
    assert html.count("<img ") == 6


def test_page_says_whose_decoder_was_told_the_depth(found, page, tmp_path):
    folder, html = page
    assert "Told the depth" not in html
    told = render(found, SECTION, folder, "demo", figures_link="../f", tables_link="../tables", deep=["w"])
    assert "the decoder of w was told the total count" in told
    (tmp_path / "model").mkdir()
    for depth, known in ((None, False), ({"mean": 8.0, "sd": 1.0}, True)):
        (tmp_path / "model" / "config.json").write_text(json.dumps({"decoder_depth": depth}))
        assert told_depth(tmp_path) == known
    assert not told_depth(tmp_path / "elsewhere")


def test_search_knows_every_gene(found, page):
    _, html = page
    data = json.loads(re.search(r'id="genes-data">(.*?)</script>', html, re.DOTALL)[1])
    assert len(data["genes"]) == 3000 and data["models"] == ["w", "m"]
    table = found.tables["gene_learnability"].set_index(["checkpoint", "gene_id"])
    for gene, symbol, family, program, models in data["genes"][::500]:
        it = table.loc[("w", gene)]
        assert (symbol, data["families"][family], data["programs"][program]) == (
            it["gene_symbol"], it["family"], it["program"],
        )  # fmt: skip
        assert models[0][0] == it["n_nonzero"] and data["calls"][models[0][8]] == it["call"]
        assert (models[0][7] is None) == (it["call"] == "not judged") and models[0][10] == it["reason"]


def test_sentences_have_the_numbers_of_the_run_and_of_the_paper(found):
    (name, sentences), *_ = answers(found, SECTION)
    text = " ".join(sentences)
    winners = int((found.tables["gene_learnability"].query("checkpoint == 'w'")["call"] == "winner").sum())
    assert name == "w" and f"{winners} (" in text and "paper: 909" in text and "paper: under 2%" in text
    assert "Identity genes are more often winners than unassigned genes" in text and "The paper: 2.36." in text
    pair = dict(answers(found, SECTION))["w and m"]
    assert "are judged by both" in pair[0]


def test_proxies_and_missing_annotation_are_said(found, two_models):
    from dataclasses import replace

    proxied = replace(found, proxies="housekeeping")
    assert any(
        sentence.startswith("Proxy:") and "housekeeping" in sentence for sentence in differences(proxied, SECTION)
    )
    assert not any(sentence.startswith("Proxy:") for sentence in differences(found, SECTION))
    folder, _, _ = two_models
    bare = analysed(folder, None, ["w"])
    assert any(sentence.startswith("Not annotated: 3,000 of 3,000") for sentence in differences(bare, SECTION))


def test_a_run_without_reliable_genes_has_figures_and_a_page(tmp_path):
    from learnability.simulated import annotation, write_checkpoint

    for name in ("w", "m"):
        write_checkpoint(tmp_path / name, annotation(40), cells=64, seed=len(name))
    few = analysed(tmp_path, annotation(40), ["w", "m"])
    save_figures(few, SECTION, tmp_path / "figures")
    html = render(few, SECTION, tmp_path / "figures", "", figures_link="f", tables_link="t")
    assert "0 of 40 genes are reliable" in html and "Few genes" in html


def test_no_symbol_ends_the_script(found):
    from dataclasses import replace

    from wced.report.genes import _search_data

    genes = found.tables["gene_learnability"].head(1).assign(gene_symbol="</script><b>")
    data = _search_data(replace(found, tables={**found.tables, "gene_learnability": genes}))
    assert "</" not in data and json.loads(data)["genes"][0][1] == "</script><b>"
