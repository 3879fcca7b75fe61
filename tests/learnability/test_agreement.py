from math import comb

import pandas as pd
import pytest

from learnability.conftest import SECTION
from wced.learnability.agreement import _measures, agreement, exclusive


class Model:
    """Genes with a Z, of which some are winners."""

    def __init__(self, name, decoder, z, winners):
        self.name = self.checkpoint = name
        self.decoder = decoder
        self.genes = pd.DataFrame({"gene_id": list(z), "gene_symbol": list(z), "z": list(z.values())})
        is_winner = self.genes["gene_id"].isin(winners)
        self.genes = self.genes.assign(family="f", program="unassigned", winner=is_winner, loser=False, judged=True)

    def regime(self, regime):
        return pd.Series(regime == "all", index=self.genes.index).to_numpy()

    def rows_of(self, table):
        return table


def models():
    """Ten genes judged by a, the first eight by b; 4 and 3 winners, 2 of them shared, one of a not judged by b."""
    a = Model("a", "wced", {f"g{i}": float(i) for i in range(10)}, {"g0", "g1", "g2", "g9"})
    b = Model("b", "mlm", {f"g{i}": float(-i) for i in range(8)}, {"g1", "g2", "g3"})
    return a, b


def test_overlap_by_hand():
    measures = _measures(*models(), "all", SECTION)
    value = {name: row["value"] for name, row in measures.items() if "value" in row}
    assert (value["judged_a"], value["judged_b"], value["judged_by_both"]) == (10, 8, 8)
    assert (value["winners_a"], value["winners_a_judged_by_both"], value["winners_b"]) == (4, 3, 3)
    assert (value["shared"], value["only_a"], value["only_b"]) == (2, 1, 1)
    assert value["expected"] == pytest.approx(3 * 3 / 8) and value["fold"] == pytest.approx(2 / (9 / 8))
    assert value["expected_any"] == pytest.approx(4 * 3 / 10) and value["fold_any"] == pytest.approx(2 / 1.2)
    # 3 of 8 genes, 3 of which are winners, have 2 or 3 winners.
    assert measures["shared"]["p"] == pytest.approx((comb(3, 2) * 5 + 1) / comb(8, 3))
    assert value["spearman_z"] == pytest.approx(-1)
    assert measures["spearman_z_shared"]["reason"] == "2 shared winners, fewer than 3"


def test_the_papers_fold_is_that_of_all_genes_that_either_judges():
    # 909 WCED winners of 16,288 genes, 371 MLM winners of 7,327, 283 shared: 13.7-fold.
    z = {f"g{i}": float(i % 7) for i in range(16_288)}
    wced = Model("w", "wced", z, {f"g{i}" for i in range(909)})
    few = {f"g{i}": z[f"g{i}"] for i in range(7_327)}
    mlm = Model("m", "mlm", few, {f"g{i}" for i in range(909 - 283, 909 - 283 + 371)})
    measures = _measures(wced, mlm, "all", SECTION)
    assert measures["shared"]["value"] == 283
    assert measures["fold_any"]["value"] == pytest.approx(13.7, abs=0.05)
    assert measures["fold"]["value"] == pytest.approx(283 * 7_327 / (909 * 371))


def test_no_winners_and_no_genes_have_reasons():
    a, b = models()
    b.genes = b.genes.assign(winner=False)
    measures = _measures(a, b, "all", SECTION)
    assert "no winner" in measures["fold"]["reason"] and "no winner" in measures["shared_of_fewer"]["reason"]
    assert _measures(a, b, "sparse", SECTION)["expected"]["reason"] == "no gene is judged by both"


def test_exclusive_winners_by_family():
    counts = exclusive(list(models())).iloc[0].drop(["model_a", "model_b", "family"]).to_dict()
    assert counts == {
        "genes": 8, "shared": 2, "only_a": 1, "only_b": 1, "only_a_unjudged": 1, "only_b_unjudged": 0,
    }  # fmt: skip


def test_published_numbers_are_of_pairs_of_wced_and_mlm_only(analysis):
    rows = analysis.tables["learnability_agreement"].query("regime == 'all'").set_index("measure")
    assert rows.loc["shared", "published"] == "283"
    # w is WCED and comes first.
    assert (rows.loc["only_a", "published"], rows.loc["only_b", "published"]) == ("626", "88")
    a, b = models()
    b.decoder = "wced"
    empty = pd.DataFrame(columns=["checkpoint", "decoder", "family", "median_improvement", "median_z"])
    assert (agreement([a, b], empty, SECTION)["published"] == "").all()


def test_planted_shared_winners_are_called_by_both(analysis):
    rows = analysis.tables["learnability_agreement"].query("regime == 'all'").set_index("measure")
    assert rows.loc["shared", "value"] >= 15 and rows.loc["fold", "value"] > 5 and rows.loc["shared", "p"] < 1e-10
