from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats
from statsmodels.stats.multitest import multipletests

from clouds import score_rows
from wced import tables
from wced.benchmarks.ablation import METRICS
from wced.benchmarks.ablation import score as ablation
from wced.benchmarks.ablation.figures import dots
from wced.config import read
from wced.config.ablation import Ablation
from wced.errors import WcedError

LEVELS = {
    f"{objective}_{ontology}_{corpus}": {"objective": objective, "ontology": ontology, "corpus": corpus}
    for objective in ("mlm", "wced") for ontology in ("without", "with") for corpus in ("10", "100")
}  # fmt: skip
SECTION = Ablation(checkpoints=LEVELS, metrics={"probe": ["macro_f1_lr"]}, min_nonzero=5)
DATASETS = [f"d{i}" for i in range(6)]


def rows(task, metric, value):
    """Rows of scores: value(levels, number of the dataset)."""
    cells = [(dataset, name, value(levels, i)) for name, levels in LEVELS.items() for i, dataset in enumerate(DATASETS)]
    named = [dict(zip(("dataset", "model", "value"), cell, strict=True)) for cell in cells]
    return score_rows(named, task=task, metric=metric)


def f1(levels, i):
    """WCED adds 0.2 to 0.25; the ontology adds 0.1 to MLM only; the corpus adds nothing."""
    wced, ontology = levels["objective"] == "wced", levels["ontology"] == "with"
    return 0.5 + 0.01 * i**2 + wced * (0.2 + 0.01 * i) + (ontology and not wced) * (0.1 + 0.001 * i)


@pytest.fixture(scope="module")
def scores():
    errors = [
        rows("ablation", metric.name, lambda levels, i: 1.0 + i)[lambda frame, on=on: frame["dataset"].isin(on)]
        for metric, on in zip(METRICS, (DATASETS, DATASETS[:1], DATASETS[:1]), strict=True)
    ]
    others = [rows("probe", "macro_f1_sgd", f1), rows("elsewhere", "macro_f1_lr", f1)]
    extra = rows("probe", "macro_f1_lr", f1).assign(model="pca")[:6]
    everything = pd.concat([*errors, rows("probe", "macro_f1_lr", f1), *others, extra], ignore_index=True)
    return ablation.chosen(everything, SECTION)


def test_only_the_checkpoints_and_metrics_asked_for(scores):
    assert set(scores["model"]) == set(LEVELS)
    assert set(scores["metric"]) == {"macro_f1_lr", *(metric.name for metric in METRICS)}
    assert set(scores["task"]) == {"probe", "ablation"}
    with pytest.raises(WcedError, match="probe has no score macro_f1_lr of wced_with_100"):
        ablation.chosen(scores[scores["model"] != "wced_with_100"], SECTION)


def test_effects_are_paired_over_datasets(scores):
    table = ablation.effects(scores, SECTION)
    f1_of = table[table["metric"] == "macro_f1_lr"].set_index(["factor", "others"])
    row = f1_of.loc[("objective", "ontology=without, corpus=10")]
    assert (row["level_a"], row["level_b"], row["datasets"]) == ("mlm", "wced", 6)
    expected = -(0.2 + 0.01 * np.arange(6))
    assert row["difference"] == pytest.approx(expected.mean())
    assert row["p"] == pytest.approx(stats.wilcoxon(expected).pvalue) and row["p_adjusted"] >= row["p"]
    assert f1_of.loc[("ontology", "objective=mlm, corpus=100"), "difference"] == pytest.approx(-0.1025)
    assert f1_of.loc[("ontology", "objective=wced, corpus=100"), "difference"] == pytest.approx(0)
    # Averaged over objectives, the ontology's effect is half of that on MLM.
    assert f1_of.loc[("ontology", "mean"), "difference"] == pytest.approx(-0.1025 / 2)
    assert f1_of.loc[("corpus", "mean"), "p_reason"] == "the models do not differ on any dataset"
    assert len(f1_of) == 3 * (4 + 1)
    alone = table[table["metric"] == "overall_rescaled_mae"]
    assert (alone["datasets"] == 1).all() and alone["p"].isna().all() and not alone["higher_is_better"].any()
    assert not (table["metric"] == "validation_loss").any()


def test_holm_is_over_all_effects_on_a_metric(scores):
    table = ablation.effects(scores, SECTION)
    tested = table[(table["metric"] == "macro_f1_lr") & table["p"].notna()]
    assert len(tested) == 8  # WCED against MLM in four places and their mean, the ontology of MLM twice and the mean
    np.testing.assert_allclose(tested["p_adjusted"], multipletests(tested["p"], method="holm")[1])


def test_means_over_datasets_and_lost_values(scores):
    lost = scores.copy()
    first = (lost["metric"] == "macro_f1_lr") & (lost["model"] == "mlm_with_10") & (lost["dataset"] == "d0")
    lost.loc[first, ["value", "reason"]] = np.nan, "lost"
    table = ablation.table(lost, SECTION).set_index(["metric", "checkpoint", "dataset"])
    assert table.loc[("macro_f1_lr", "mlm_with_10", "mean"), "reason"] == "a dataset has no value"
    mean = table.loc[("macro_f1_lr", "mlm_without_10", "mean")]
    assert mean["value"] == pytest.approx(0.5 + 0.01 * 55 / 6) and mean["n"] == 6
    assert mean["levels"] == "objective=mlm, ontology=without, corpus=10"
    assert ("overall_rescaled_mae", "mlm_with_10", "mean") not in table.index
    assert list(dict.fromkeys(table.loc["macro_f1_lr"].index.get_level_values(0))) == list(LEVELS)
    effect = ablation.effects(lost, SECTION).set_index(["metric", "factor", "others"])
    assert effect.loc[("macro_f1_lr", "ontology", "objective=mlm, corpus=10"), "datasets"] == 5


def write_checkpoint(folder, name, decoder, genes):
    """Write errors of two epochs on two datasets, one in two blocks; a gene has (n_nonzero, Σ|error|, Σvalue)."""
    sums = [
        (name, decoder, epoch, dataset, part, gene, 9, n // parts, error * worse / parts, 0, 0, 0, x / parts, 0)
        for epoch, worse in ((1, 2.0), (2, 1.0))
        for dataset, parts in (("d1", 1), ("d2", 2))
        for part in range(parts)
        for gene, (n, error, x) in genes.items()
    ]
    folder.mkdir()
    columns = tables.GENE_ERROR_SUMS.names
    tables.write(pd.DataFrame(sums, columns=columns), tables.GENE_ERROR_SUMS, folder / "gene_error_sums.parquet")
    losses = [(name, "validation", epoch, epoch, "loss", 3.0 - epoch) for epoch in (1, 2)]
    columns = tables.METRICS.names
    tables.write(pd.DataFrame(losses, columns=columns), tables.METRICS, folder / "metrics.tsv")
    return folder


def test_reconstruction_by_hand(tmp_path):
    genes = {"A": (6, 3.0, 12.0), "B": (5, 8.0, 10.0), "C": (5, 5.0, 10.0), "rare": (1, 9.0, 1.0)}
    folders = [write_checkpoint(tmp_path / "w", "w", "wced", genes)]
    folders.append(write_checkpoint(tmp_path / "m", "m", "mlm", {"A": (6, 1.0, 10.0), "C": (8, 3.0, 10.0)}))
    options = {"run": "r", "seed": 0, "min_nonzero": 5}
    errors_of = ablation.reconstruction(folders[:1], **options).set_index(["metric", "dataset"])
    assert errors_of.loc[("validation_loss", "validation cells"), "value"] == 1.0
    # The last epoch; A: 3 / 12, B: 8 / 10, C: 5 / 10. In two blocks B and C have 2 + 2 values each, too few.
    assert errors_of.loc[("median_rescaled_mae", "d1"), ["value", "n"]].tolist() == [0.5, 3]
    assert errors_of.loc[("median_rescaled_mae", "d2"), ["value", "n"]].tolist() == [0.25, 1]
    assert errors_of.loc[("overall_rescaled_mae", "validation cells"), ["value", "n"]].tolist() == [0.5, 3]
    # Of genes that both predict often enough: A and C.
    both = ablation.reconstruction(folders, **options).set_index(["metric", "dataset", "model"])["value"]
    assert both["median_rescaled_mae", "d1", "w"] == pytest.approx((0.25 + 0.5) / 2)
    assert both["median_rescaled_mae", "d1", "m"] == pytest.approx((0.1 + 0.3) / 2)
    few = ablation.reconstruction(folders, **options | {"min_nonzero": 50}).set_index("metric")
    assert (few.loc["overall_rescaled_mae", "reason"] == "no gene has 50 non-zero values in every checkpoint").all()
    with pytest.raises(WcedError, match="no such file"):
        ablation.reconstruction([tmp_path / "nothing"], **options)


def test_the_figure_shows_every_dot(scores, tmp_path):
    dots(tmp_path, ablation.table(scores, SECTION), SECTION.metrics)
    data = pd.read_csv(tmp_path / "ablation.tsv", sep="\t")
    assert len(data) == 2 * len(LEVELS) * len(DATASETS)  # of reconstruction and of the metric
    assert "levels of objective" in (tmp_path / "ablation.md").read_text()
    assert "objective=wced, ontology=with, corpus=100" in (tmp_path / "ablation.svg").read_text()


@pytest.mark.parametrize(
    ("checkpoints", "words"),
    [
        pytest.param({"a": {"x": "1"}, "b": {"y": "1"}}, "b: its factors are not those of the first: x", id="factors"),
        pytest.param({"a": {"x": "1"}, "b": {"x": "1"}}, "b: the same levels as a", id="levels"),
        pytest.param({"a": {}, "b": {}}, "its factors", id="none"),
    ],
)
def test_sections_that_make_no_sense_are_refused(checkpoints, words):
    with pytest.raises(ValidationError, match=words):
        Ablation(checkpoints=checkpoints, metrics={})


def test_the_config_has_eight_checkpoints_of_the_same_compute_that_differ_as_their_levels_say():
    run = read(Path(__file__).parents[2] / "config" / "ablation.yaml")
    checkpoints = run.pretraining.checkpoints
    assert list(run.ablation.checkpoints) == list(checkpoints) and len(checkpoints) == 8
    assert len({(c.epochs, c.batch_size, c.accumulate, c.order, c.input.length) for c in checkpoints.values()}) == 1
    for name, levels in run.ablation.checkpoints.items():
        trained = checkpoints[name]
        objective = levels["objective"]
        assert (trained.mlm is None, trained.wced is None) == (objective == "WCED", objective == "MLM")
        assert levels["ontology loss"] == ("with" if trained.label_heads else "without")
        assert levels["corpus"] == f"{trained.cells:.0%}"
        assert trained.order.epoch_cells is not None


def test_variants_of_the_recipe_take_the_same_cells_in_three_seeds_each():
    run = read(Path(__file__).parents[2] / "config" / "recipe.yaml")
    checkpoints = run.pretraining.checkpoints
    assert list(run.ablation.checkpoints) == list(checkpoints)
    settings = {(c.epochs, c.batch_size, c.accumulate, c.order.epoch_cells) for c in checkpoints.values()}
    assert settings == {(1, 64, 1, 32_000)}
    for name, levels in run.ablation.checkpoints.items():
        assert str(checkpoints[name].seed) == levels["seed"] == name[-1]
    variants = {levels["recipe"] for levels in run.ablation.checkpoints.values()}
    assert 3 * len(variants) == len(checkpoints)
    # Variants differ: none is another one by another name.
    of_seed_0 = [c.model_dump_json() for c in checkpoints.values() if c.seed == 0]
    assert len(set(of_seed_0)) == len(of_seed_0) == len(variants)
