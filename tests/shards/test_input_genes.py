import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chisquare, kstest

from count_cells import encoding, ragged, random_counts
from wced.config.pretraining import Panels, Thinning
from wced.errors import WcedError
from wced.genes.table import gene_group
from wced.shards.encode import encode
from wced.shards.input_genes import InputGenes, gene_choice
from wced.shards.kernels import TARGET_SUM
from wced.shards.reduction import EXACT, TABLE, binomial_table, thinned_count
from wced.shards.vocabulary import Vocabulary


def facts(n_genes, seed=0, **groups):
    frequency_v = np.random.default_rng(seed).random(n_genes)
    members = {name: np.isin(np.arange(n_genes), genes) for name, genes in groups.items()}
    return InputGenes(frequency_v, members)


def all_measured(n_genes, datasets=1):
    return np.ones((datasets, n_genes), bool)


def expressed(batch, i, x_ng):
    """Genes with counts in the sequence of a cell, and all its genes."""
    gene = batch.gene[i, : batch.length[i]]
    return gene[x_ng[i, gene] > 0], gene


def test_informative_genes_are_those_of_the_largest_value_times_rarity():
    x_ng, genes = random_counts(3, 200, 300, 0.6, 400), facts(300)
    for length, training in itertools.product((1, 7, 60, 150), (False, True)):
        how = encoding(length=length, subset="informative")
        choice = gene_choice(genes, all_measured(300), how.input)
        batch = encode(ragged(x_ng), all_measured(300), how, training=training, choice=choice)
        for i, x_g in enumerate(x_ng):
            value_g = np.log1p(x_g * (TARGET_SUM / x_g.sum()))
            score_g = value_g.astype(np.float32) * (1 - genes.frequency_v).astype(np.float32)
            order = np.lexsort((np.arange(300), -score_g))
            best = np.sort([g for g in order if x_g[g] > 0][:length])
            np.testing.assert_array_equal(batch.gene[i, : batch.length[i]], best)


def test_equally_informative_genes_go_by_id_and_unlearned_ones_last():
    x_ng = np.array([[9, 1, 1, 1, 5, 1, 1]])
    genes = InputGenes(np.array([0.0, 0.5, 0.5, 0.5, 1.0, 0.5, 0.5]))  # none expressed gene 0, all gene 4
    for length, best in ((3, [1, 2, 3]), (5, [1, 2, 3, 5, 6]), (6, [0, 1, 2, 3, 5, 6])):
        how = encoding(length=length, subset="informative")
        choice = gene_choice(genes, all_measured(7), how.input)
        assert encode(ragged(x_ng), all_measured(7), how, training=True, choice=choice).gene.tolist() == [best]


def test_ranks_and_bins_choose_the_same_genes_as_values():
    x_ng, batches = random_counts(5, 30, 80, 0.9, 90), []
    for values in ("log1p_10k", "ranks", "bins"):
        how = encoding(length=20, subset="informative", values=values)
        choice = gene_choice(facts(80), all_measured(80), how.input)
        batches.append(encode(ragged(x_ng), all_measured(80), how, training=False, choice=choice).gene.tolist())
    assert batches[0] == batches[1] == batches[2]


sections = {
    "length": st.integers(2, 60),
    "subset": st.sampled_from(["random", "most_expressed", "informative"]),
    "leave_out": st.sampled_from([[], ["out"]]),
    "thinning": st.builds(Thinning, share=st.sampled_from([0.0, 0.5, 1.0]), min_rate=st.sampled_from([0.01, 0.5])),
    "panels": st.builds(Panels, share=st.sampled_from([0.0, 0.5, 1.0]), groups=st.just(["other"])),
    "values": st.sampled_from(["log1p_10k", "ranks"]),
    "zeros": st.sampled_from(["exclude", "include", "interleave"]),
    "dropout": st.sampled_from([0.0, 0.3]),
}
encodings = st.builds(encoding, **sections, mlm=st.none() | st.just({"select": 0.4, "mask": 0.5}))


@settings(deadline=None, derandomize=True, max_examples=200)
@given(encodings, st.integers(2, 80), st.sampled_from([3, 5000]), st.booleans(), st.integers(0, 2**32))
def test_a_reduced_input_is_what_choice_and_cell_allow(how, n_genes, largest, training, seed):
    rng = np.random.default_rng(seed)
    x_ng, dataset = random_counts(seed, 5, n_genes, 0.5, largest), rng.integers(0, 2, 5)
    measured_dv = np.ones((2, n_genes), bool)
    measured_dv[1] = (x_ng[dataset == 1] > 0).any(axis=0) | (rng.random(n_genes) < 0.5)
    left_out = rng.random(n_genes) < 0.2
    genes = InputGenes(rng.random(n_genes), {"out": left_out, "other": rng.random(n_genes) < 0.5})
    section, panels = how.input, how.input.panels.model_copy(update={"sizes": [n_genes // 2 + 1]})
    choice = gene_choice(genes, measured_dv, section.model_copy(update={"panels": panels}))
    options = {"training": training, "seed": seed, "epoch": 2}
    batch = encode(ragged(x_ng, dataset=dataset), measured_dv, how, choice=choice, **options)
    total_n = x_ng.sum(axis=1).astype(np.float64)
    for i in range(5):
        with_counts, gene = expressed(batch, i, x_ng)
        assert len(np.unique(gene)) == len(gene) and measured_dv[dataset[i], gene].all()
        assert not (section.leave_out and left_out[gene].any())
        allowed = (x_ng[i] > 0) & ~(left_out & bool(section.leave_out))
        assert len(with_counts) >= min(1, allowed.sum())  # nothing that training varies empties a cell
        value = batch.value[i, : batch.length[i]]
        assert ((value > 0) == (x_ng[i, gene] > 0)).all()
        whole = np.log1p(x_ng[i] * (TARGET_SUM / total_n[i]))
        # Targets are of the cell as it is.
        flat = slice(batch.target_offsets[i], batch.target_offsets[i + 1])
        np.testing.assert_array_equal(batch.target_gene[flat], np.flatnonzero(x_ng[i]))
        np.testing.assert_allclose(batch.target_value[flat], whole[x_ng[i] > 0], rtol=1e-6)
        if how.mlm:
            np.testing.assert_allclose(batch.position_target[i, : batch.length[i]], whole[gene], rtol=1e-6)
        varied = training and (section.thinning.share or section.panels.share or section.dropout)
        if not varied:
            room = section.length
            if training and section.zeros == "interleave":
                room = max(1, math.floor(room * section.nonzero_ratio))
            assert len(with_counts) == min(room, allowed.sum())
            if section.values == "log1p_10k":
                kept = x_ng[i] * allowed
                expected = np.log1p(kept * (TARGET_SUM / max(kept.sum(), 1)))
                np.testing.assert_allclose(value[x_ng[i, gene] > 0], expected[with_counts], rtol=1e-6)
    # A cell's sequence depends on itself alone.
    alone = encode(ragged(x_ng[3:4], [3], dataset[3:4]), measured_dv, how, choice=choice, **options)
    assert alone.gene[0, : alone.length[0]].tolist() == batch.gene[3, : batch.length[3]].tolist()
    assert alone.value[0, : alone.length[0]].tobytes() == batch.value[3, : batch.length[3]].tobytes()


def test_what_training_varies_is_absent_from_inference():
    x_ng, genes = random_counts(7, 20, 90), facts(90, out=[1, 5], other=range(40))
    plain = {"length": 30, "subset": "informative", "leave_out": ["out"]}
    varied = encoding(
        **plain, thinning=Thinning(share=1.0), panels=Panels(share=1.0, groups=["other"], sizes=[10]), dropout=0.5,
        min_length=2,
    )  # fmt: skip
    choice = gene_choice(genes, all_measured(90), varied.input)
    first, second = (
        encode(ragged(x_ng), all_measured(90), how, training=False, choice=choice)
        for how in (encoding(**plain), varied)
    )
    assert first.gene.tobytes() == second.gene.tobytes() and first.value.tobytes() == second.value.tobytes()
    assert varied.unvaried == encoding(**plain, dropout=0.5)


@pytest.mark.parametrize("count", [1, 2, 5, TABLE, TABLE + 1, EXACT, EXACT + 1, 500])
def test_thinned_counts_are_binomial(count):
    rate, n = 0.3, 20_000
    rng = np.random.default_rng(0)
    first, keys = rng.integers(0, 65536, n), rng.integers(0, 2**63, n).astype(np.uint64)
    table_ck = np.empty((TABLE + 1, TABLE), np.int32)
    binomial_table(rate, table_ck)
    kept = np.array([thinned_count(count, f, rate, table_ck, key) for f, key in zip(first, keys, strict=True)])
    assert kept.min() >= 0 and kept.max() <= count
    assert abs(kept.mean() - count * rate) < 5 * np.sqrt(count * rate * (1 - rate) / n)
    assert kept.var() == pytest.approx(count * rate * (1 - rate), rel=0.06)
    if count <= EXACT:
        low, high = binom.ppf([0.005, 0.995], count, rate)
        values = np.arange(max(low, 0), high + 1)
        share = binom.pmf(values, count, rate)
        seen = np.array([(kept == value).sum() for value in values])
        rest, expected_rest = n - seen.sum(), n * (1 - share.sum())
        assert chisquare([*seen, rest + 1e-9], [*(n * share), expected_rest + 1e-9]).pvalue > 0.001


def test_rates_of_thinning_are_log_uniform_and_some_cells_are_left_whole():
    n = 4000
    x_ng = np.full((n, 50), 2000)
    how = encoding(length=50, thinning=Thinning(share=0.7, min_rate=0.1), mlm={"mask": 1.0})
    batch = encode(ragged(x_ng), all_measured(50), how, training=True, seed=3)
    # Totals are not kept, but noise is: the spread of a cell's values tells its rate.
    spread = np.expm1(batch.value.astype(np.float64)).std(axis=1) / (TARGET_SUM / 50)
    whole = spread < 1e-6
    assert whole.mean() == pytest.approx(0.3, abs=0.03)
    rate = 1 / (1 + 2000 * spread[~whole] ** 2)
    assert kstest(np.log(rate), "uniform", args=(math.log(0.1), -math.log(0.1))).statistic < 0.06


def test_a_panel_is_that_of_a_dataset_a_group_or_a_size_equally_often():
    n, n_genes = 6000, 400
    x_ng = np.ones((n, n_genes), int)
    measured_dv = np.ones((3, n_genes), bool)
    measured_dv[1, :200], measured_dv[2, 200:] = False, False
    genes = facts(n_genes, blood=range(100))
    how = encoding(length=n_genes, panels=Panels(share=0.75, groups=["blood"], sizes=[50]))
    choice = gene_choice(genes, measured_dv, how.input)
    batch = encode(ragged(x_ng), measured_dv, how, training=True, choice=choice)
    blood = (batch.length == 300) & (batch.gene.min(axis=1, where=batch.value > 0, initial=n_genes) == 100)
    halves = batch.length == 200
    small = (batch.length < 110) & (batch.length > 15)
    assert blood.mean() == pytest.approx(0.25, abs=0.02) and small.mean() == pytest.approx(0.25, abs=0.02)
    assert halves.mean() == pytest.approx(0.75 / 9 * 2, abs=0.02)
    assert (batch.length == n_genes).mean() == pytest.approx(0.25 + 0.75 / 9, abs=0.02)
    assert batch.length[small].mean() == pytest.approx(50, abs=1)
    share_g = np.bincount(batch.gene[small][batch.value[small] > 0], minlength=n_genes) / small.sum()
    assert abs(share_g - 1 / 8).max() < 6 * np.sqrt(1 / 8 * 7 / 8 / small.sum())


def test_zeros_are_of_the_panel_and_none_is_left_out():
    x_ng = np.zeros((500, 60), int)
    x_ng[:, :10] = 3
    measured_dv = np.ones((2, 60), bool)
    measured_dv[1, 30:] = False
    how = encoding(length=60, zeros="include", leave_out=["out"], panels=Panels(share=1.0))
    choice = gene_choice(facts(60, out=[0, 11, 12]), measured_dv, how.input)
    batch = encode(ragged(x_ng), measured_dv, how, training=True, choice=choice)
    assert set(batch.length) == {57, 27}
    for i in range(0, 500, 50):
        gene = np.sort(batch.gene[i, : batch.length[i]])
        assert gene.tolist() == [g for g in range(60 if batch.length[i] == 57 else 30) if g not in (0, 11, 12)]


def test_a_cell_of_genes_that_are_left_out_is_an_empty_one():
    x_ng, how = np.array([[0, 3, 9, 0, 0, 0], [0, 3, 0, 0, 4, 0]]), encoding(length=4, leave_out=["out"])
    choice = gene_choice(facts(6, out=[1, 2]), all_measured(6), how.input)
    batch = encode(ragged(x_ng), all_measured(6), how, training=True, choice=choice)
    assert batch.length.tolist() == [0, 1] and batch.gene[1, 0] == 4


def test_an_encoding_that_chooses_needs_a_choice():
    cells, informative = ragged(np.ones((1, 4), int)), encoding(length=2, subset="informative")
    with pytest.raises(ValueError, match="give it a GeneChoice"):
        encode(cells, all_measured(4), informative, training=False)
    no_panels = encoding(panels=Panels(datasets=False)).input
    with pytest.raises(ValueError, match="the GeneChoice has none"):
        choice = gene_choice(facts(4), all_measured(4), no_panels)
        encode(cells, all_measured(4), encoding(length=2, panels=Panels(share=1.0)), training=True, choice=choice)
    with pytest.raises(ValueError, match="input genes of 5 genes, but the cells have 4"):
        gene_choice(facts(5), all_measured(4), informative.input)


VOCABULARY = Vocabulary(("ENSG00000000001", "ENSG00000000002", "ENSG00000000003"), ("MT-CO1", "RPL3", "CD4"))


def test_input_genes_are_read_as_they_were_written(tmp_path):
    genes = InputGenes(np.array([1 / 3, 0.0, 1.0]), {"mitochondrial": np.array([True, False, False])})
    genes.write(tmp_path / "genes.tsv", VOCABULARY)
    again = InputGenes.read(tmp_path / "genes.tsv", VOCABULARY)
    np.testing.assert_array_equal(again.frequency_v, genes.frequency_v)
    assert {name: member.tolist() for name, member in again.groups.items()} == {"mitochondrial": [True, False, False]}
    np.testing.assert_allclose(again.information_v, [2 / 3, 0, 0], rtol=1e-6)


HEAD = "gene_id\tsymbol\tdetection_frequency"
OTHER_FILES = {
    "columns": ("gene_id\tx\n", "not the input genes of a model: its first columns are not"),
    "vocabulary": (f"{HEAD}\nENSG1\tA\t0.5\n", "not of the vocabulary that the model was"),
    "range": (
        f"{HEAD}\tg\nENSG00000000001\tA\t0.5\t1\nENSG00000000002\tB\t2\t0\nENSG00000000003\tC\t0\t0\n",
        "detection_frequency is a share between 0 and 1, and a gene group has 0 or 1",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_other_files_are_no_input_genes(tmp_path, text, sentence):
    (tmp_path / "genes.tsv").write_text(text)
    with pytest.raises(WcedError, match=sentence):
        InputGenes.read(tmp_path / "genes.tsv", VOCABULARY)


def test_gene_groups_by_symbol_and_by_table(tmp_path):
    symbols = ("MT-ND4L", "RPL36AL", "MRPS18B", "RPS6KA1", "HBA2", "HBEGF", "RPLP0", "CD4", "RPS4Y1", "MTOR")
    ids = tuple(f"ENSG{i:011d}" for i in range(len(symbols)))
    members = {
        name: [symbol for symbol, here in zip(symbols, gene_group(name, ids, symbols, {}), strict=True) if here]
        for name in ("mitochondrial", "ribosomal", "haemoglobin")
    }
    assert members == {
        "mitochondrial": ["MT-ND4L"],
        "ribosomal": ["RPL36AL", "MRPS18B", "RPLP0", "RPS4Y1"],
        "haemoglobin": ["HBA2"],
    }
    table = tmp_path / "mine.tsv"
    table.write_text(f"gene_id\tnote\n{ids[7]}.12\tx\nENSG99999999999\ty\n")
    assert gene_group("mine", ids, symbols, {"mine": str(table)}).tolist() == [i == 7 for i in range(len(ids))]
    table.write_text("gene_id\nENSG99999999999\n")
    with pytest.raises(WcedError, match=r"mine\.tsv: none of its 1 genes is in the vocabulary"):
        gene_group("mine", ids, symbols, {"mine": str(table)})
    with pytest.raises(WcedError, match="gene group cell cycle: not known; known are mitochondrial"):
        gene_group("cell cycle", ids, symbols, {})
