from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from learnability.conftest import SECTION, analysed, rows_of
from learnability.simulated import annotation, write_checkpoint
from wced.config.learnability import Learnability
from wced.errors import WcedError
from wced.learnability.absolute import converged_epoch, dynamics, tier
from wced.learnability.analysis import SETTINGS, simulation
from wced.learnability.genes import NOT_ANNOTATED


def fact(analysis, checkpoint, measure, regime="all"):
    return rows_of(analysis, "learnability_facts", checkpoint, measure=measure, regime=regime).iloc[0]


def test_planted_winners_are_called(analysis, two_models):
    _, genes, identity = two_models
    for checkpoint, planted in (("w", identity[:50]), ("m", identity[10:60])):
        table = rows_of(analysis, "gene_learnability", checkpoint).set_index("gene_id")
        winners = table.loc[genes["gene_id"].iloc[planted]]
        judged = winners[winners["call"] != "not judged"]
        assert len(judged) > 25 and (judged["call"] == "winner").mean() > 0.9
        # Bootstraps of the blocks mostly agree with so clear a call.
        assert judged["winner_share"].median() > 0.9
        others = table[~table.index.isin(winners.index) & (table["call"] != "not judged")]
        assert (others["call"] == "winner").mean() < 0.03


def test_every_gene_is_judged_or_has_a_reason(analysis):
    table = analysis.tables["gene_learnability"]
    assert (table["z"].isna() == (table["call"] == "not judged")).all()
    rare = table[table["n_nonzero"] < 100]
    assert len(rare) and rare["reason"].str.contains("non-zero values, fewer than 100").all()
    assert fact(analysis, "m", "dropped")["value"] == (rare["checkpoint"] == "m").sum()
    assert fact(analysis, "m", "reliable")["value"] + fact(analysis, "m", "dropped")["value"] == 3000


def test_facts_are_those_of_the_genes(analysis):
    genes = rows_of(analysis, "gene_learnability", "w").query("n_nonzero >= 100")
    for regime in ("sparse", "dense"):
        part = genes[genes["regime"] == regime]
        assert fact(analysis, "w", "winners", regime)["value"] == (part["call"] == "winner").sum()
        beat = fact(analysis, "w", "beat_null_fraction", regime)["value"]
        assert beat == pytest.approx((part["improvement"] > 0).mean())
    assert fact(analysis, "w", "winners")["published"] == "909" and fact(analysis, "m", "winners")["published"] == "371"
    for measure in ("median_rescaled_mae", "median_improvement", "beat_null_fraction"):
        row = fact(analysis, "w", measure)
        assert row["ci_low"] <= row["value"] <= row["ci_high"] and "32 validation blocks" in row["ci_method"]


@pytest.mark.parametrize(
    ("improvement", "expected"), [(0.2, "1"), (0.19, "2"), (0.1, "2"), (0.05, "3"), (0.049, "4"), (-3, "4")]
)
def test_tiers(improvement, expected):
    assert tier(improvement, (0.2, 0.1, 0.05)) == expected
    with pytest.raises(ValueError, match="descend"):
        Learnability(tiers=(0.05, 0.1, 0.2))


def test_families_by_hand_and_in_order(analysis):
    rows = rows_of(analysis, "learnability_families", "w")
    genes = rows_of(analysis, "gene_learnability", "w").query("n_nonzero >= 100").groupby("family")
    by_hand = genes["improvement"].median().sort_values(ascending=False)
    assert rows["family"].tolist() == by_hand.index.tolist()
    np.testing.assert_allclose(rows["median_improvement"], by_hand)
    np.testing.assert_allclose(rows["min_auc"], genes["detection_auc"].min()[by_hand.index])
    assert (rows["ci_low"] <= rows["median_improvement"]).all()


def test_dynamics_and_convergence_by_hand(analysis):
    rows = rows_of(analysis, "learnability_dynamics", "w", family="Family 0")
    # Errors are the last's times 1 + 0.3 (1 - 1/4), 1 + 0.3 (1/2 - 1/4) and 1.
    ratio = rows["median_rescaled_mae"].to_numpy() / rows["median_rescaled_mae"].iloc[-1]
    np.testing.assert_allclose(ratio, [1.225, 1.075, 1])
    assert rows["converged"].tolist() == [False, False, True]
    assert (rows_of(analysis, "learnability_families", "w")["converged_epoch"] == 3).all()


def test_a_family_converges_only_where_it_stays():
    key = {"checkpoint": "w", "decoder": "wced"}
    genes = pd.DataFrame({"gene_id": ["a", "b"], "family": "f"})
    model = SimpleNamespace(key=key, genes=genes, unseen=lambda axis: {}, rows_of=lambda table: table)
    errors = pd.DataFrame(
        {
            "epoch": [1, 1, 2, 2, 3, 3, 4, 4], "gene_id": ["a", "b"] * 4, "n": 100, "n_nonzero": 50,
            "rescaled_mae": [1.0, 1.0, 2.0, 2.0, 1.04, 1.04, 1.0, 1.0], "rescaled_null_mae": 1.0, "detection_auc": 0.9,
        }
    )  # fmt: skip
    rows = dynamics(errors, model, Learnability(min_group=2))
    assert rows["converged"].tolist() == [False, False, True, True]
    assert converged_epoch(rows).to_dict() == {"f": 3}
    assert dynamics(errors, model, Learnability(min_group=3)).empty


def test_sensitivity_begins_with_the_config_and_changes_one_key(analysis):
    rows = rows_of(analysis, "learnability_sensitivity", "w").set_index(["key", "setting"])
    config = rows.loc[("none", "")]
    assert config["winners"] == config["same_winners"] == fact(analysis, "w", "winners")["value"]
    assert len(rows) == 1 + sum(len(values) - 1 for values in SETTINGS.values())
    assert rows.loc[("z", "1.5"), "winners"] > config["winners"] >= rows.loc[("z", "3.0"), "winners"]
    assert rows.loc[("z", "1.5"), "same_winners"] == config["winners"]


def test_simulation_recalls_planted_winners(analysis):
    section = SECTION.model_copy(update={"simulation": SECTION.simulation.model_copy(update={"z": (1.0, 4.0)})})
    rows = simulation(analysis.models[0], section, 0).set_index("planted_z")
    assert rows.loc[4.0, "recall"] > 0.99 and rows.loc[1.0, "recall"] < 0.05
    # Without winners, those beyond two standard deviations of normal errors: 2.3%.
    assert rows.loc[0.0, "false_positive_rate"] == pytest.approx(0.0228, abs=0.006)
    assert rows.loc[4.0, "false_positive_rate"] < rows.loc[0.0, "false_positive_rate"]
    assert rows.loc[0.0, "reason"].startswith("nothing is planted")


def test_no_annotation_leaves_one_group_without_odds_ratio(two_models):
    analysis = analysed(two_models[0], None, ["w"])
    assert analysis.tables["learnability_families"]["family"].tolist() == [NOT_ANNOTATED]
    rows = analysis.tables["learnability_enrichment"]
    assert rows["odds_ratio"].isna().all() and (rows["reason"] != "").all()
    assert analysis.tables["learnability_agreement"].empty and analysis.tables["learnability_exclusive"].empty


def test_too_few_cells_give_rows_with_reasons(tmp_path):
    write_checkpoint(tmp_path / "w", annotation(50), cells=64, blocks=32)
    analysis = analysed(tmp_path, annotation(50), ["w"])
    assert fact(analysis, "w", "reliable")["value"] == 0
    assert fact(analysis, "w", "beat_null_fraction")["reason"] == "no reliable genes"
    assert np.isnan(fact(analysis, "w", "winners")["ci_low"])
    assert (analysis.tables["gene_learnability"]["call"] == "not judged").all()
    assert (analysis.tables["learnability_families"]["reason"] != "").all()


def test_few_blocks_give_no_interval(tmp_path):
    write_checkpoint(tmp_path / "w", annotation(300), blocks=4)
    row = fact(analysed(tmp_path, annotation(300), ["w"]), "w", "winners")
    assert np.isnan(row["ci_low"]) and row["ci_method"] == "4 validation blocks, fewer than 8"


def test_sums_of_another_training_are_refused(tmp_path):
    write_checkpoint(tmp_path / "w", annotation(300))
    write_checkpoint(tmp_path / "other", annotation(300), cells=10_000)
    (tmp_path / "other" / "gene_error_sums.parquet").rename(tmp_path / "w" / "gene_error_sums.parquet")
    with pytest.raises(WcedError, match="not those of the gene errors of w"):
        analysed(tmp_path, None, ["w"])


def test_same_seed_same_tables_and_no_left_out_gene_changes_none(analysis, two_models):
    folder, genes, _ = two_models
    again = analysed(folder, genes, ["w", "m"], left_out={"w": genes.head(0).assign(left_out="")})
    for name, table in analysis.tables.items():
        pd.testing.assert_frame_equal(table, again.tables[name])


def test_detection_counts_only_genes_with_enough_zeros(two_models):
    folder, genes, _ = two_models
    analysis = analysed(folder, genes, ["w"], SECTION.model_copy(update={"min_zeros": 5_000}))
    table = analysis.tables["gene_learnability"].query("n_nonzero >= 100")
    auc = table.loc[20_000 - table["n_nonzero"] >= 5_000, "detection_auc"]
    row = fact(analysis, "w", "median_detection_auc")
    assert row["value"] == pytest.approx(auc.median())
    assert row["n"] == len(auc) < len(table)
    assert analysis.tables["learnability_families"]["auc_genes"].sum() == len(auc)
