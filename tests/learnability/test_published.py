"""The paper's numbers that a gene page shows, against the transcription of the paper in config/published."""

from importlib import resources
from pathlib import Path

import pytest

from wced.tables import read_text

TRANSCRIBED = Path(__file__).parents[2] / "config" / "published" / "section_9_10_genes.tsv"
MODELS = {"wced": "WCED", "mlm": "MLM", "wced/mlm": "WCED and MLM"}
GROUPS = {"identity": "identity_associated", "": "all"}
GROUPS |= {program: f"state_{program}" for program in ("cell_cycle", "dissociation")}
METRICS = {
    "reliable": "genes_evaluated",
    "winner_rate": "winner_percent",
    "variance_explained": "percent_variance_by_sparsity",
    "winners_median_zero_fraction": "winner_median_zero_fraction",
    "families_median_auc": "median_family_detection_auc",
    "shared": "winners_shared",
    "fold_any": "fold_enrichment",
    "only_wced": "winners_wced_only",
    "only_mlm": "winners_mlm_only",
    "sparse winners": "winners_sparse",
}


def rows():
    shown = read_text(resources.files("wced.learnability") / "published.tsv", "the paper's numbers")
    transcribed = read_text(TRANSCRIBED, "the transcription")
    values = {(row.dataset, row.model, row.metric): row for row in transcribed.itertuples()}
    for row in shown.itertuples():
        measure = "sparse winners" if (row.regime, row.measure) == ("sparse", "winners") else row.measure
        key = GROUPS.get(row.group, row.group), MODELS[row.decoder], METRICS.get(measure, measure)
        if (row.regime != "dense" or row.group) and key in values:
            yield pytest.param(row.published, values[key], id="-".join(key))


ROWS = list(rows())


def test_most_numbers_stand_in_both():
    assert len(ROWS) >= 32


@pytest.mark.parametrize(("shown", "transcribed"), ROWS)
def test_a_number_is_that_of_the_transcription(shown, transcribed):
    if transcribed.note.startswith("not in the text"):
        assert shown == "not in the text"
    elif shown.endswith("%"):
        assert float(shown[:-1]) == float(transcribed.value)
    else:
        factor = 100 if transcribed.metric == "winner_percent" else 1
        assert factor * float(shown) == pytest.approx(float(transcribed.value))
