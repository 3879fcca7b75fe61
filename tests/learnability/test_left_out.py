"""Genes that the input of a checkpoint leaves out: from the folder of a checkpoint to every table and the page."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from generated import MITOCHONDRIAL
from learnability.conftest import SECTION, analysed, rows_of, run_command
from learnability.simulated import write_checkpoint
from wced import tables
from wced.config.pretraining import Pretraining
from wced.learnability.figures import save_figures
from wced.learnability.genes import left_out
from wced.pretraining.train import pretrain
from wced.report.genes import answers, render

REASON = "left out of the input of {}: mitochondrial"


def vocabulary_ids(made):
    return pd.read_csv(made.shards / "vocabulary.tsv", sep="\t")["gene_id"].tolist()


@pytest.fixture(scope="module")
def trained(made, tmp_path_factory):
    """Folders of two checkpoints whose inputs leave out the mitochondrial genes, w with a group of two more."""
    folder = tmp_path_factory.mktemp("trained")
    own = folder / "own.tsv"
    own.write_text("\n".join(["gene_id", *vocabulary_ids(made)[:2]]) + "\n")
    of_w = {"length": 32, "leave_out": ["mitochondrial", "own"], "gene_groups": {"own": str(own)}}
    of_m = {"length": 32, "leave_out": ["mitochondrial"]}
    training = {"epochs": 1, "batch_size": 128}
    checkpoints = {"w": {"input": of_w, "wced": {}, **training}, "m": {"input": of_m, "mlm": {}, **training}}
    model = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16, "value_frequencies": 4}
    model["decoder_width"] = 8
    section = Pretraining.model_validate({"model": model, "checkpoints": checkpoints, "precision": "32-true"})
    for name in checkpoints:
        pretrain(folder / name, made.shards, folder / f"{name}.state", section, name, 0)
    return folder


def test_the_folder_of_a_checkpoint_says_which_genes_its_input_leaves_out(trained, made):
    m, w = left_out(trained / "m"), left_out(trained / "w")
    assert set(m["gene_symbol"]) <= set(MITOCHONDRIAL) and len(m) > 1
    assert (m["left_out"] == "mitochondrial").all()
    groups = w.set_index("gene_id")["left_out"]
    assert set(groups.index) == {*m["gene_id"], *vocabulary_ids(made)[:2]}
    assert (groups[vocabulary_ids(made)[:2]] == "own").all()


def test_without_a_model_or_groups_no_gene_is_left_out(tmp_path):
    assert left_out(tmp_path).empty
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"input": {"length": 3}}))
    assert left_out(tmp_path).empty


def test_checkpoints_of_trainings_have_a_reason_for_each_gene_left_out(trained, tmp_path):
    section = {"bootstraps": 20, "permutations": 100, "min_nonzero": 1, "simulation": {"repeats": 1}}
    result = run_command([trained / "w", trained / "m"], tmp_path, section)
    assert result.exit_code == 0, result.output
    table = tables.read(tables.GENE_LEARNABILITY, tmp_path / "tables" / "gene_learnability.tsv")
    table = table[table["gene_id"].isin(left_out(trained / "m")["gene_id"])]
    assert table["checkpoint"].value_counts().to_dict() == dict.fromkeys("wm", len(left_out(trained / "m")))
    assert (table["reason"] == table["checkpoint"].map(REASON.format)).all() and (table["call"] == "not judged").all()
    # From the CLS all genes are decoded, while masks only cover what is read.
    scored = table.groupby("checkpoint")["n_nonzero"].sum()
    assert scored["w"] > 0 and scored["m"] == 0
    ranked = tables.read(tables.LEARNABILITY, tmp_path / "tables" / "learnability.tsv")
    for name in "wm":
        mine = ranked[ranked["checkpoint"] == name]
        assert len(mine) and not mine["gene_id"].isin(left_out(trained / name)["gene_id"]).any()
    assert (
        "genes are left out of the input of m: mitochondrial. The model"
        in (tmp_path / "report" / "genes.html").read_text()
    )
    record = json.loads((tmp_path / "report" / "genes.html.provenance.json").read_text())
    assert {"w/config.json", "w/input_genes.tsv"} <= set(record["inputs"])


@pytest.fixture(scope="module")
def unseen(two_models):
    """Genes that both models leave out: all of family 0, and every third gene of family 1."""
    _, genes, _ = two_models
    mine = [genes[genes["family"] == "Family 0"], genes[genes["family"] == "Family 1"].iloc[::3]]
    return pd.concat(mine).assign(left_out="mitochondrial")[["gene_id", "gene_symbol", "left_out"]]


@pytest.fixture(scope="module")
def without(two_models, unseen, tmp_path_factory):
    """Analysis of both models; m never scored the genes, as it never masks them."""
    folder, genes, _ = two_models
    copy = tmp_path_factory.mktemp("without")
    for name in "wm":
        (copy / name).mkdir()
        (copy / name / "gene_error_sums.parquet").symlink_to(folder / name / "gene_error_sums.parquet")
        errors = tables.read(tables.GENE_ERRORS, folder / name / "gene_errors.parquet")
        scored = ~errors["gene_id"].isin(unseen["gene_id"] if name == "m" else [])
        tables.write(errors[scored], tables.GENE_ERRORS, copy / name / "gene_errors.parquet")
    return analysed(copy, genes, ["w", "m"], left_out={"w": unseen, "m": unseen})


@pytest.mark.parametrize("checkpoint", ["w", "m"])
def test_genes_left_out_are_not_judged_and_have_a_reason(without, analysis, unseen, checkpoint):
    rows = rows_of(without, "gene_learnability", checkpoint)
    hidden = rows["gene_id"].isin(unseen["gene_id"])
    assert hidden.sum() == len(unseen) and len(rows) == 3000
    assert (rows.loc[hidden, "reason"] == REASON.format(checkpoint)).all() and rows.loc[hidden, "z"].isna().all()
    assert not rows.loc[~hidden, "reason"].str.contains("left out").any()
    assert rows.loc[hidden, "rescaled_mae"].notna().any() == (checkpoint == "w")
    counts = rows_of(without, "learnability_facts", checkpoint, regime="all").set_index("measure")["value"]
    assert (counts["genes"], counts["left_out"]) == (3000, len(unseen))
    assert counts["left_out"] + counts["dropped"] + counts["reliable"] == 3000
    assert rows_of(without, "learnability_summary", checkpoint)["genes"].tolist() == [3000 - len(unseen)]
    ranked = rows_of(without, "learnability", checkpoint)["gene_id"]
    assert len(ranked) and not ranked.isin(unseen["gene_id"]).any()


@pytest.mark.parametrize("checkpoint", ["w", "m"])
def test_families_left_out_have_a_reason_and_others_have_only_genes_that_are_read(
    without, analysis, two_models, unseen, checkpoint
):
    genes = two_models[1]
    n = (genes["family"] == "Family 0").sum()
    reason = f"{n} of {n} genes {REASON.format(checkpoint)}"
    family = rows_of(without, "learnability_families", checkpoint, family="Family 0").iloc[0]
    assert (family["genes"], family["left_out"], family["reliable"]) == (n, n, 0)
    assert family["reason"] == reason and family["tier"] == "" and np.isnan(family["median_improvement"])
    assert rows_of(without, "learnability_dynamics", checkpoint, family="Family 0").empty
    compared = rows_of(without, "learnability_enrichment", checkpoint, group="Family 0")
    assert len(compared) == 3 and (compared["reason"] == reason).all()
    assert (compared[["genes", "winners", "losers", "genes_against"]] == 0).all(axis=None)
    assert compared[["winner_rate", "odds_ratio", "median_z", "mann_whitney_p"]].isna().all(axis=None)
    # A third left out: the family is judged by the rest of its genes.
    part = rows_of(without, "learnability_families", checkpoint, family="Family 1").iloc[0]
    read = rows_of(analysis, "gene_learnability", checkpoint, family="Family 1")
    read = read[(read["n_nonzero"] >= 100) & ~read["gene_id"].isin(unseen["gene_id"])]
    assert part["reason"] == "" and part["reliable"] == len(read)
    assert part["median_improvement"] == pytest.approx(read["improvement"].median())
    judged = (rows_of(without, "gene_learnability", checkpoint)["call"] != "not judged").sum()
    compared = rows_of(without, "learnability_enrichment", checkpoint, group="Family 1", regime="all").iloc[0]
    assert compared["genes"] + compared["genes_against"] == judged
    # Families without any such gene are what they were.
    columns = ["genes", "reliable", "median_improvement", "beat_null_fraction", "median_auc"]
    others = [f"Family {i}" for i in range(2, 6)]
    tables_of = (rows_of(each, "learnability_families", checkpoint).set_index("family") for each in (without, analysis))
    pd.testing.assert_frame_equal(*(rows.loc[others, columns] for rows in tables_of))


@pytest.mark.parametrize(("hidden", "judged"), [(4, True), (5, False)])
def test_a_family_is_not_judged_from_half_of_it_on(tmp_path, two_models, hidden, judged):
    genes = two_models[1].head(400).assign(family="rest")
    genes.loc[:9, "family"] = "ten"
    write_checkpoint(tmp_path / "w", genes, cells=100_000)
    unseen = genes.head(hidden).assign(left_out="mitochondrial")[["gene_id", "gene_symbol", "left_out"]]
    row = rows_of(analysed(tmp_path, genes, ["w"], left_out={"w": unseen}), "learnability_families", "w", family="ten")
    assert row["left_out"].item() == hidden and np.isfinite(row["median_improvement"].item()) == judged
    assert row["reason"].item() == ("" if judged else f"5 of 10 genes {REASON.format('w')}")


def test_a_program_left_out_has_no_odds_ratio_on_either_side(two_models):
    folder, genes, _ = two_models
    unseen = genes[genes["program"] == "dissociation"].assign(left_out="own")[["gene_id", "gene_symbol", "left_out"]]
    analysis = analysed(folder, genes, ["w"], left_out={"w": unseen})
    rows = rows_of(analysis, "learnability_enrichment", "w", axis="program", regime="all")
    rows = rows.set_index(["group", "against"])["reason"]
    reason = f"{len(unseen)} of {len(unseen)} genes left out of the input of w: own"
    assert rows["dissociation", "unassigned"] == rows["identity", "dissociation"] == reason
    assert rows["identity", "unassigned"] == ""


def test_the_page_has_a_sentence_on_genes_left_out(without, analysis, unseen, tmp_path):
    sentence = f"{len(unseen):,} genes are {REASON.format('m')}. The model never reads them"
    (_, of_w), (_, of_m), *_ = answers(without, SECTION)
    assert of_m[1].startswith(sentence) and of_m[1].endswith("half or more have no values: Family 0.")
    assert f" of {3000 - len(unseen):,} genes that it reads are reliable" in of_w[0]
    assert not any("never reads" in text for _, sentences in answers(analysis, SECTION) for text in sentences)
    save_figures(without, SECTION, tmp_path)
    html = render(without, SECTION, tmp_path, "", figures_link="f", tables_link="t")
    assert sentence in html
    data = json.loads(re.search(r'id="genes-data">(.*?)</script>', html, re.DOTALL)[1])
    models = {gene[0]: gene[4] for gene in data["genes"]}[unseen["gene_id"].iloc[0]]
    assert [model[10] for model in models] == [REASON.format(name) for name in "wm"]
    families = pd.read_csv(tmp_path / "families_w_wced.tsv", sep="\t")
    assert "Family 0" not in set(families["family"]) and "Family 1" in set(families["family"])
