import numpy as np
import pytest

from wced.corpus.draws import SPLIT, draws


def splitmix64(state):
    """Vigna's splitmix64.c, one call, in integers without limit."""
    state = (state + 0x9E3779B97F4A7C15) % 2**64
    z = state
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return state, z ^ (z >> 31)


def test_they_are_the_outputs_of_splitmix64():
    start = splitmix64((splitmix64(7)[1] + 3 * 0x9E3779B97F4A7C15) % 2**64)[1]
    expected = []
    for _ in range(5):
        start, value = splitmix64(start)
        expected.append(value)
    assert draws(np.arange(5), 7, 3).tolist() == expected


def test_the_reference_value_of_the_generator():
    assert splitmix64(0)[1] == 0xE220A8397B1DCDAF


def test_a_draw_depends_on_the_cell_alone(monkeypatch):
    joinids = np.random.default_rng(0).permutation(5000)
    whole = draws(joinids, 1, 2)
    assert draws(joinids[1234:1240], 1, 2).tolist() == whole[1234:1240].tolist()
    monkeypatch.setattr("wced.corpus.draws._CHUNK", 7)
    assert draws(joinids, 1, 2).tolist() == whole.tolist()
    assert len(set(whole.tolist())) == 5000


@pytest.mark.parametrize("change", [{"seed": 2}, {"purpose": 4}, {"purpose": SPLIT}], ids=["seed", "step", "split"])
def test_other_draws_are_unrelated(change):
    base = {"seed": 1, "purpose": 3}
    one, other = (draws(np.arange(20_000), **kw) / 2**64 for kw in (base, base | change))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
    assert abs(one.mean() - 0.5) < 0.01 and abs(np.histogram(one, 10, (0, 1))[0] - 2000).max() < 250


def test_runs_share_a_draw():
    values = draws(np.arange(10), 0, 1, run=4)
    assert [len(set(values[a:b].tolist())) for a, b in ((0, 4), (4, 8), (8, 10))] == [1, 1, 1]
    assert len(set(values.tolist())) == 3
