from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from count_cells import encoding, ragged, random_counts
from wced.shards.counter_random import GOLDEN, MASK, UNIT
from wced.shards.encode import encode, mask_limits
from wced.shards.kernels import TARGET_SUM, mark_perturbed
from wced.shards.reader import ShardSet


def all_measured(genes):
    return np.ones((1, genes), bool)


def present(batch, i):
    return slice(0, batch.length[i])


encodings = st.builds(
    encoding,
    length=st.integers(2, 60),
    subset=st.sampled_from(["random", "most_expressed"]),
    values=st.sampled_from(["log1p_10k", "ranks", "bins"]),
    bins=st.sampled_from([2, 7, 50]),
    zeros=st.sampled_from(["exclude", "include", "interleave"]),
    nonzero_ratio=st.floats(0.5, 1.0),
    nonzero_only=st.sampled_from([0.0, 0.5, 1.0]),
    dropout=st.sampled_from([0.0, 0.2, 0.9]),
    mlm=st.none() | st.fixed_dictionaries(
        {
            "select": st.sampled_from([0.3, 1.0]), "mask": st.sampled_from([0.0, 0.5, 0.9]),
            "hide_genes": st.sampled_from([0.0, 0.1]),
        }
    ),
    cell_target=st.booleans(),
)  # fmt: skip


def reference_values(count, section):
    """Values of the genes that survive dropout, in float64, by the definitions."""
    if section.values == "log1p_10k":
        return np.log1p(count * (TARGET_SUM / count.sum(dtype=np.float64)))
    rank = (rankdata(count, method="average") - 0.5) / len(count)
    return rank if section.values == "ranks" else 1 + np.floor(section.bins * rank)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    encodings, st.integers(1, 6), st.integers(2, 80), st.sampled_from([0.05, 0.5, 0.95]),
    st.sampled_from([3, 5000, 2**31]), st.booleans(), st.integers(0, 2**32),
)  # fmt: skip
def test_a_sequence_is_what_its_cell_and_encoding_allow(how, n, genes, density, largest, training, seed):
    rng = np.random.default_rng(seed)
    x_ng = random_counts(seed, n, genes, density, largest)
    dataset = rng.integers(0, 2, n)
    measured_dv = np.ones((2, genes), bool)
    measured_dv[1] = (x_ng[dataset == 1] > 0).any(axis=0) | (rng.random(genes) < 0.5)
    batch = encode(ragged(x_ng, dataset=dataset), measured_dv, how, training=training, seed=seed, epoch=1)
    total_n = x_ng.sum(axis=1).astype(np.float64)
    section, mlm = how.input, how.mlm is not None
    interleave = training and section.zeros == "interleave"
    assert batch.gene.shape == batch.value.shape and batch.gene.shape[1] == batch.length.max() <= section.length
    assert (batch.masked is None) == (not (mlm and training)) and (batch.position_target is None) == (not mlm)
    room = max(1, int(np.floor(section.length * section.nonzero_ratio))) if interleave else section.length
    assert (batch.gene_masked is None) == (batch.masked is None or how.mlm.hide_genes == 0)
    for i in range(n):
        at = present(batch, i)
        gene, value, count = batch.gene[i, at], batch.value[i, at], x_ng[i, batch.gene[i, at]]
        zero, expressed = count == 0, count > 0
        n_zero, n_expressed, n_genes = zero.sum(), expressed.sum(), (x_ng[i] > 0).sum()
        assert len(gene) and len(np.unique(gene)) == len(gene)
        assert (value[zero] == 0).all() and (value[expressed] > 0).all()
        assert not zero[:n_expressed].any() and (np.diff(gene[:n_expressed]) > 0).all()
        assert measured_dv[dataset[i], gene].all()

        there = measured_dv[dataset[i]].sum() - n_genes
        asked = 0
        if section.zeros == "include":
            asked = section.length - n_expressed
        elif interleave:
            asked = np.round(n_expressed * (1 - section.nonzero_ratio) / section.nonzero_ratio)
            asked = min(asked, section.length - n_expressed)
        none = interleave and section.nonzero_only > 0 and n_zero == 0  # a cell that gets none, by chance
        assert none or n_zero == min(asked, there)
        assert not (interleave and section.nonzero_only == 1) or n_zero == 0

        dropout = training and section.dropout > 0
        if not dropout:
            assert n_expressed == min(room, n_genes)
            kept = x_ng[i][x_ng[i] > 0]
            expected = reference_values(kept, section)
            expected = expected[np.searchsorted(np.flatnonzero(x_ng[i]), gene[expressed])]
            np.testing.assert_allclose(value[expressed], expected, rtol=1e-6)
        elif n_expressed < room:  # nothing was cut off
            np.testing.assert_allclose(value[expressed], reference_values(count[expressed], section), rtol=1e-6)
        elif section.values == "log1p_10k":  # one total for all of what survived dropout
            kept_total = TARGET_SUM * count[expressed] / np.expm1(value[expressed].astype(np.float64))
            assert np.ptp(kept_total) <= 1e-5 * kept_total[0]
            assert count[expressed].sum() * (1 - 1e-5) <= kept_total[0] <= total_n[i] * (1 + 1e-5)
        most = not training or section.subset == "most_expressed"
        if most and not dropout:
            best = np.sort(np.lexsort((np.arange(genes), -x_ng[i]))[:n_expressed])
            assert gene[expressed].tolist() == best.tolist()

        whole = np.log1p(x_ng[i] * (TARGET_SUM / total_n[i]))
        if mlm:
            np.testing.assert_allclose(batch.position_target[i, at], whole[gene], rtol=1e-6)
        # Padding is empty.
        for array in (batch.gene, batch.value, batch.masked, batch.gene_masked, batch.position_target):
            assert array is None or not array[i, batch.length[i] :].any()
        # The targets are the whole cell.
        if how.cell_target:
            flat = slice(batch.target_offsets[i], batch.target_offsets[i + 1])
            np.testing.assert_array_equal(batch.target_gene[flat], np.flatnonzero(x_ng[i]))
            np.testing.assert_allclose(batch.target_value[flat], whole[x_ng[i] > 0], rtol=1e-6)
        else:
            assert batch.target_gene is batch.target_value is batch.target_offsets is None


@settings(deadline=None, derandomize=True, max_examples=50)
@given(encodings, st.integers(0, 1000), st.booleans())
def test_a_sequence_depends_on_its_cell_alone(how, seed, training):
    x_ng, joinid = random_counts(seed, 5, 40), np.array([7, 123456789012, 3, 0, 88])
    measured_dv = all_measured(40)
    options = {"training": training, "seed": seed, "epoch": 2}
    together = encode(ragged(x_ng, joinid), measured_dv, how, **options)
    order = np.array([4, 2, 0, 3, 1])
    for rows in ([0], [1], [2], [3], [4], order):
        part = encode(ragged(x_ng[rows], joinid[rows]), measured_dv, how, **options)
        for k, i in enumerate(np.atleast_1d(rows)):
            assert part.length[k] == together.length[i]
            for name in ("gene", "value", "masked", "position_target"):
                here, there = getattr(part, name), getattr(together, name)
                assert (here is None) == (there is None)
                if here is not None:
                    np.testing.assert_array_equal(here[k, present(part, k)], there[i, present(together, i)])


SECTION = {"length": 20, "subset": "random", "zeros": "interleave", "nonzero_ratio": 0.8, "dropout": 0.3}
ALL = encoding(**SECTION, mlm={"select": 0.5, "mask": 0.8})


def arrays(batch):
    return {name: array.tobytes() for name, array in vars(batch).items() if array is not None}


@pytest.mark.parametrize(
    ("change", "same"), [({}, True), ({"epoch": 4}, False), ({"seed": 2}, False), ({"epoch": 1, "seed": 3}, False)],
    ids=["again", "other_epoch", "other_seed", "exchanged"],
)  # fmt: skip
def test_random_numbers_are_those_of_seed_and_epoch(change, same):
    cells, measured_dv = ragged(random_counts(1, 8, 60)), all_measured(60)
    options = {"training": True, "seed": 1, "epoch": 3}
    first = encode(cells, measured_dv, ALL, **options)
    second = encode(cells, measured_dv, ALL, **(options | change))
    assert (arrays(first) == arrays(second)) is same
    assert first.target_value.tobytes() == second.target_value.tobytes()


def test_cells_of_the_same_counts_differ():
    x_ng = np.tile(random_counts(1, 1, 60), (2, 1))
    batch = encode(ragged(x_ng), all_measured(60), ALL, training=True)
    assert (batch.gene[0] != batch.gene[1]).any()


def test_without_training_nothing_is_random():
    cells, measured_dv = ragged(random_counts(1, 8, 60)), all_measured(60)
    plain = encoding(length=20, subset="most_expressed")
    expected = arrays(encode(cells, measured_dv, plain, training=False))
    other = arrays(encode(cells, measured_dv, ALL, training=False, seed=5, epoch=6))
    assert other.pop("position_target") and other == expected
    assert arrays(encode(cells, measured_dv, plain, training=True, seed=7)) == expected


def test_most_expressed_among_counts_beyond_the_table():
    x_ng = np.array([[70, 5, 70, 300, 70, 65, 70]])
    for length, expected in ((1, [3]), (3, [0, 2, 3]), (5, [0, 2, 3, 4, 6]), (6, [0, 2, 3, 4, 5, 6])):
        batch = encode(ragged(x_ng), all_measured(7), encoding(length=length), training=False)
        assert batch.gene.tolist() == [expected]


def test_ranks_and_bins_by_hand():
    x_ng, measured_dv = np.array([[2, 0, 900, 2, 7, 80, 80, 80]]), all_measured(8)
    ranks = encode(ragged(x_ng), measured_dv, encoding(length=8, values="ranks"), training=False)
    np.testing.assert_allclose(ranks.value[0] * 7 + 0.5, [1.5, 7, 1.5, 3, 5, 5, 5], rtol=1e-6)
    bins = encode(ragged(x_ng), measured_dv, encoding(length=8, values="bins", bins=4), training=False)
    assert bins.value[0].tolist() == [1, 4, 1, 2, 3, 3, 3]


def test_included_zeros_fill_the_sequence_evenly_or_at_random():
    x_ng = np.zeros((2000, 30), int)
    x_ng[:, [3, 7]] = 5
    measured_dv = np.ones((1, 30), bool)
    measured_dv[0, 29] = False
    how = encoding(length=11, zeros="include")
    fixed = encode(ragged(x_ng), measured_dv, how, training=False)
    assert fixed.gene[0].tolist() == [3, 7, 2, 6, 10, 13, 16, 19, 22, 25, 28]
    sampled = encode(ragged(x_ng), measured_dv, how, training=True)
    share = np.bincount(sampled.gene[:, 2:].ravel(), minlength=30) / len(x_ng)
    assert share[[3, 7, 29]].tolist() == [0, 0, 0]
    assert abs(np.delete(share, [3, 7, 29]) - 9 / 27).max() < 5 * np.sqrt(2 / 9 / len(x_ng))
    whole = encode(ragged(x_ng[:1]), measured_dv, encoding(length=99, zeros="include"), training=True)
    assert sorted(whole.gene[0]) == list(range(29))


def test_the_share_of_cells_without_zeros_is_kept():
    x_ng = np.zeros((3000, 100), int)
    x_ng[:, :45] = 1
    how = encoding(length=100, zeros="interleave", nonzero_ratio=0.9, nonzero_only=0.2)
    batch = encode(ragged(x_ng), all_measured(100), how, training=True, seed=2)
    assert set(batch.length) == {45, 50}
    assert (batch.length == 45).mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["whole", "after_dropout"])
def test_random_subset_takes_every_gene_equally_often(dropout):
    x_ng = np.tile(np.arange(1, 41), (4000, 1))
    how = encoding(length=10, dropout=dropout)
    batch = encode(ragged(x_ng), all_measured(40), how, training=True, seed=1)
    full = batch.length == 10
    assert full.mean() > (0.99 if dropout else 0.9999)
    share = np.bincount(batch.gene[full].ravel(), minlength=40) / full.sum()
    assert abs(share - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 4000)


def test_dropout_select_and_mask_are_near_their_shares():
    n, genes = 500, 100
    x_ng = np.ones((n, genes), int)
    how = encoding(length=genes, dropout=0.2, mlm={"select": 0.5, "mask": 0.8})
    batch = encode(ragged(x_ng), all_measured(genes), how, training=True, seed=3)
    assert batch.length.sum() / (n * genes) == pytest.approx(0.8, abs=0.01)
    assert batch.masked.sum() / batch.length.sum() == pytest.approx(0.4, abs=0.01)


def test_interleaved_zeros_are_near_their_share_and_spread_over_measured_genes():
    n, genes = 500, 200
    x_ng = np.zeros((n, genes), int)
    x_ng[:, :90] = 1
    measured_dv = np.ones((1, genes), bool)
    measured_dv[0, 180:] = False
    how = encoding(length=genes, zeros="interleave", nonzero_ratio=0.9)
    batch = encode(ragged(x_ng), measured_dv, how, training=True, seed=4)
    assert (batch.length == 100).all()
    sampled = np.bincount(batch.gene[:, 90:].ravel(), minlength=genes)
    assert sampled[:90].sum() == 0 == sampled[180:].sum() and sampled[90:180].min() > 25


@pytest.mark.parametrize("values", ["log1p_10k", "ranks", "bins"])
@pytest.mark.parametrize("n", [0, 2], ids=["no_cells", "empty_cells"])
def test_nothing_to_encode(n, values):
    batch = encode(ragged(np.zeros((n, 4), int)), all_measured(4), encoding(length=8, values=values), training=True)
    assert batch.length.tolist() == [0] * n and batch.gene.shape == (n, 1) and len(batch.target_gene) == 0


def test_wide_ids_are_encoded_like_narrow_ones():
    cells = ragged(random_counts(6, 4, 30))
    wide = replace(cells, gene=cells.gene.astype(np.uint32))
    one, other = (arrays(encode(of, all_measured(30), ALL, training=True)) for of in (cells, wide))
    assert one == other


def mixed(z):
    """The finaliser of SplitMix64, in Python's own integers."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> shift)) * factor % 2**64
    return z ^ (z >> 31)


def mask_numbers(seed, epoch, joinid, n):
    """The number of each position, in [0, UNIT), from the definitions."""
    state = mixed(mixed(((seed * 0xD1342543DE82EF95) + MASK) % 2**64) ^ joinid)
    state = mixed((state + epoch * int(GOLDEN)) % 2**64)
    words = [mixed((state + (k // 4 + 1) * int(GOLDEN)) % 2**64) for k in range(n)]
    return np.array([word >> 16 * (k % 4) & 0xFFFF for k, word in enumerate(words)])


@pytest.mark.parametrize("by_gene", [False, True], ids=["uniform", "by_gene"])
@pytest.mark.parametrize(("mask", "hide_genes"), [(0.9, 0.0), (0.5, 0.3), (0.0, 1.0), (0.25, 0.75)], ids=str)
def test_hidden_values_and_genes_are_those_of_the_numbers(mask, hide_genes, by_gene):
    cells, measured_dv = ragged(random_counts(3, 9, 70), soma_joinid=7 * np.arange(9) + 2**40), all_measured(70)
    masks = {"select": 0.7, "mask": mask, "hide_genes": hide_genes}
    how = encoding(length=50, zeros="interleave", dropout=0.1, mlm=masks)
    chosen_g = np.random.default_rng(0).random(70)
    chosen_g[:5] = [0, 0, 1, 1, 1]
    limits = mask_limits(how.mlm, chosen_g) if by_gene else None
    batch = encode(cells, measured_dv, how, training=True, seed=5, epoch=3, limits=limits)
    for i, joinid in enumerate(cells.soma_joinid.tolist()):
        at = present(batch, i)
        number = mask_numbers(5, 3, joinid, batch.length[i])
        chosen = chosen_g[batch.gene[i, at]] if by_gene else 0.7
        value_limit = np.round(UNIT * chosen * mask)
        gene_limit = np.round(UNIT * chosen * (mask + hide_genes))
        assert batch.masked[i, at].tolist() == (number < value_limit).tolist()
        hidden = (number >= value_limit) & (number < gene_limit)
        assert hide_genes == 0 or batch.gene_masked[i, at].tolist() == hidden.tolist()
    assert (batch.gene_masked is None) == (hide_genes == 0)


@pytest.mark.parametrize("by_gene", [False, True], ids=["uniform", "by_gene"])
def test_what_is_hidden_changes_no_other_random_number(by_gene):
    cells, measured_dv = ragged(random_counts(4, 20, 60)), all_measured(60)
    hides = encoding(**SECTION, mlm={"select": 0.5, "mask": 0.8, "hide_genes": 0.1})
    limits = mask_limits(hides.mlm, np.linspace(0, 1, 60)) if by_gene else None
    plain = arrays(encode(cells, measured_dv, ALL, training=True, seed=9))
    more = arrays(encode(cells, measured_dv, hides, training=True, seed=9, limits=limits))
    assert more.pop("gene_masked") and (more.pop("masked") == plain.pop("masked")) is not by_gene
    assert more == plain


def test_marks_are_where_a_sequence_has_the_gene():
    rng = np.random.default_rng(0)
    gene, lengths = rng.integers(0, 9, (50, 12)).astype(np.int32), rng.integers(0, 13, 50)
    perturbed = rng.integers(-1, 9, (50, 3)).astype(np.int32)
    state = np.full(gene.shape, 7, np.int8)
    mark_perturbed(gene, lengths, perturbed, state)
    there = np.arange(12) < lengths[:, None]
    expected = there & (gene[:, :, None] == perturbed[:, None, :]).any(axis=2)
    np.testing.assert_array_equal(state, expected)
    assert 0 < state.sum() < state.size / 2


@pytest.mark.parametrize("zeros", ["exclude", "include"])
def test_batches_say_which_positions_have_a_perturbed_gene(annotated, zeros):
    shards = ShardSet(annotated.shards)
    rows = np.arange(len(shards))[::-3]
    how = encoding(length=400, zeros=zeros, dropout=0.1)
    batch = encode(shards.views(rows), shards.measured_dv, how, training=True, seed=2)
    guides = annotated.frame["guide"].to_numpy()[rows]
    for i, guide in enumerate(guides):
        own = batch.gene[i, : batch.length[i]]
        expected = np.isin(own, annotated.perturbed.get(guide, []))
        assert batch.gene_state[i, : batch.length[i]].tolist() == expected.tolist()
        assert not batch.gene_state[i, batch.length[i] :].any()
    assert batch.gene_state.dtype == np.int8 and batch.gene_state.any()
