import numpy as np
import pandas as pd
import pytest

from wced.learnability.genes import (
    NOT_ANNOTATED,
    annotated,
    improvement,
    last_epoch,
    proxies,
    ranked,
    reliable,
    summary,
)


def errors(checkpoint="m", epoch=1, decoder="wced", mae=(0.2, 0.5, 0.3, 0.9, 0.1)) -> pd.DataFrame:
    """Genes g0 to g4 whose null has a rescaled MAE of 0.4."""
    return pd.DataFrame(
        {
            "checkpoint": checkpoint,
            "decoder": decoder,
            "epoch": epoch,
            "gene_id": [f"g{i}" for i in range(5)],
            "gene_symbol": [f"G{i}" for i in range(5)],
            "n_nonzero": [50, 60, 70, 80, 1],
            "zero_fraction": [0.5, 0.4, 0.3, 0.2, 0.99],
            "detection_auc": [0.5, 0.6, 0.7, 0.8, 0.9],
            "rescaled_mae": mae,
            "rescaled_null_mae": 0.4,
        }
    )


def test_last_epoch_is_each_checkpoints_own():
    last = last_epoch(pd.concat([errors("a", 1), errors("a", 2), errors("b", 1)]))
    assert last.groupby("checkpoint")["epoch"].unique().map(list).to_dict() == {"a": [2], "b": [1]}
    assert len(last) == 10


def test_improvement_by_hand():
    assert improvement(errors()).tolist() == pytest.approx([0.5, -0.25, 0.25, -1.25, 0.75])
    # A null without error gives none.
    assert np.isnan(improvement(errors().assign(rescaled_null_mae=0.0))).all()
    # Reliable are genes that are not rare, the best first.
    assert reliable(errors(), 50)["gene_id"].tolist() == ["g0", "g2", "g1", "g3"]


@pytest.mark.parametrize(
    ("top", "most", "least"),
    [
        pytest.param(1, ["g0"], ["g3"], id="one"),
        pytest.param(2, ["g0", "g2"], ["g3", "g1"], id="all"),
        pytest.param(9, ["g0", "g2"], ["g3", "g1"], id="ends never meet"),
    ],
)
def test_ranked_ends(top, most, least):
    table = ranked(errors(), min_nonzero=50, top=top)
    assert table.loc[table["end"] == "most", "gene_id"].tolist() == most
    assert table.loc[table["end"] == "least", "gene_id"].tolist() == least
    assert table["rank"].tolist() == [*range(1, len(most) + 1), *range(1, len(least) + 1)]


def test_checkpoints_are_in_order_and_their_decoders_apart():
    table = ranked(pd.concat([errors("z"), errors("a")]), min_nonzero=50, top=2)
    assert list(dict.fromkeys(table["checkpoint"])) == ["z", "a"]
    every = pd.concat([errors(), errors(decoder="mlm", mae=(0.9, 0.3, 0.5, 0.2, 0.1))], ignore_index=True)
    table = ranked(every, min_nonzero=50, top=1)
    best = table[table["end"] == "most"].set_index("decoder")["gene_id"]
    assert best.to_dict() == {"wced": "g0", "mlm": "g3"}
    assert summary(every, min_nonzero=50)["decoder"].tolist() == ["wced", "mlm"]
    pd.testing.assert_frame_equal(last_epoch(every), every)


def test_no_reliable_gene_gives_an_empty_table_and_an_empty_summary():
    assert ranked(errors(), min_nonzero=101, top=2).empty
    row = summary(errors(), min_nonzero=101).iloc[0]
    assert row["reliable"] == 0 and np.isnan(row["beat_null_fraction"]) and np.isnan(row["median_rescaled_mae"])


def test_summary_by_hand():
    row = summary(errors(epoch=3), min_nonzero=50).iloc[0]
    assert (row["epoch"], row["genes"], row["reliable"], row["beat_null"]) == (3, 5, 4, 2)
    assert row["beat_null_fraction"] == 0.5
    assert row["median_rescaled_mae"] == pytest.approx(0.4)
    assert row["median_detection_auc"] == pytest.approx(0.65)
    assert row["spearman_sparsity"] == pytest.approx(-0.8)  # ranks 4 3 2 1 against 1 3 2 4


def test_annotation_is_joined_and_genes_without_are_a_group():
    known = pd.DataFrame({"gene_id": ["g1", "g0"], "family": ["B", "A"], "program": ["identity", "constitutive"]})
    joined = annotated(errors(), known)
    assert joined["family"].tolist() == ["A", "B"] + [NOT_ANNOTATED] * 3
    assert joined["program"].tolist() == ["constitutive", "identity"] + [NOT_ANNOTATED] * 3
    assert (annotated(errors(), None)["family"] == NOT_ANNOTATED).all()
    assert proxies(None) == "" and proxies(known.assign(proxies="housekeeping")) == "housekeeping"
