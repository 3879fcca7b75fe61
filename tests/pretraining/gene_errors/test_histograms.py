import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from wced.pretraining.gene_errors import BINS, HIGHEST, STEPS, DetectionHistograms, codes_of, shift_of


def counted(parts, genes=1):
    histograms = DetectionHistograms(genes)
    for gene, logit, expressed in parts:
        histograms.add(torch.as_tensor(gene), torch.as_tensor(logit), torch.as_tensor(expressed))
    return histograms


def auc_of(logit, expressed):
    return counted([(np.zeros(len(logit), np.int64), logit, expressed)]).auc()[0]


@pytest.mark.parametrize(
    ("logit", "code"),
    [(0.0, 0), (1.0, STEPS), (-1 / STEPS, -1), (-0.5 / STEPS, -1), (0.5 / STEPS, 0), (1e30, HIGHEST),
     (-1e30, -HIGHEST), (np.inf, HIGHEST), (-np.inf, -HIGHEST), (np.nan, -HIGHEST)],
)  # fmt: skip
def test_codes(logit, code):
    assert codes_of(torch.tensor([logit])).item() == code


def test_shift_is_the_smallest_that_fits():
    rng = np.random.default_rng(0)
    low, high = np.sort(rng.integers(-HIGHEST, HIGHEST + 1, (2, 3000)), axis=0)
    low[:500] = high[:500] - rng.integers(0, 2000, 500).clip(0, high[:500] + HIGHEST)
    shifts = shift_of(torch.from_numpy(low), torch.from_numpy(high)).numpy()
    for a, b, shift in zip(low, high, shifts, strict=True):
        assert (b >> shift) - (a >> shift) < BINS
        assert shift == 0 or (b >> (shift - 1)) - (a >> (shift - 1)) >= BINS
    assert shift_of(torch.tensor([-HIGHEST]), torch.tensor([HIGHEST])) == 6
    assert set(shifts) == set(range(7))


@pytest.mark.parametrize("centre", [-6.3, 0.0, 4.1])
@pytest.mark.parametrize(("spread", "within"), [(0.02, 2e-3), (0.05, 5e-4), (0.2, 5e-4), (1.0, 5e-4), (3.0, 5e-4)])
def test_auc_of_normal_logits(spread, within, centre):
    rng = np.random.default_rng(8)
    for gap, rate in ((1.0, 0.3), (0.2, 0.01), (3.0, 0.7)):
        y = rng.random(30_000) < rate
        logit = (centre + spread * (rng.normal(size=len(y)) + gap * y)).astype(np.float32)
        assert auc_of(logit, y) == pytest.approx(roc_auc_score(y, logit), abs=within)


def test_auc_of_logits_in_far_clusters():
    rng = np.random.default_rng(3)
    y = rng.random(50_000) < 0.3
    far = rng.random(len(y)) < 0.1 + 0.4 * y
    noise = rng.normal(size=len(y))
    logit = np.where(far, 2 + noise, -6 + 0.2 * (noise + y)).astype(np.float32)
    assert auc_of(logit, y) == pytest.approx(roc_auc_score(y, logit), abs=1e-3)


@pytest.mark.parametrize(
    ("negative", "positive", "auc"),
    [
        ([-1, -1, -1], [2, 2], 1.0),
        ([2, 2], [-1, -1, -1], 0.0),
        ([0.5] * 5, [0.5] * 7, 0.5),
        ([-1, 0], [0, 1], 0.875),
        ([-1e4, -40], [40, 1e4], 1.0),
        ([], [1], np.nan),
        ([1], [], np.nan),
    ],
    ids=["all_right", "all_wrong", "ties", "mixed", "extreme", "no_negatives", "no_positives"],
)
def test_auc_by_hand(negative, positive, auc):
    logit = torch.tensor([*negative, *positive], dtype=torch.float32)
    np.testing.assert_equal(auc_of(logit, torch.arange(len(logit)) >= len(negative)), auc)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_batches_and_their_order_do_not_matter(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    genes, m = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 300))
    gene = rng.integers(0, genes, m)
    spread = 10.0 ** rng.uniform(-3, 1.3, genes)
    logit = (rng.uniform(-20, 20, genes) + spread * rng.normal(size=(m, genes)))[np.arange(m), gene].astype(np.float32)
    y = rng.random(m) < 0.4
    whole = counted([(gene, logit, y)], genes)
    batches = np.array_split(rng.permutation(m), data.draw(st.integers(1, 8)))
    parts = counted([(gene[at], logit[at], y[at]) for at in batches if len(at)], genes)
    for name in ("count_gyb", "low_g", "high_g"):
        assert torch.equal(getattr(whole, name), getattr(parts, name)), name
    code = np.floor(np.clip(logit.astype(np.float64) * STEPS, -HIGHEST, HIGHEST)).astype(int)
    for g in range(genes):
        here = gene == g
        if 0 < y[here].sum() < here.sum():
            shift = shift_of(whole.low_g, whole.high_g)[g].item()
            assert whole.auc()[g] == pytest.approx(roc_auc_score(y[here], code[here] >> shift), abs=1e-12)
