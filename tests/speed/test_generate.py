import numpy as np
import pytest

from speed import generate


def test_counts_look_like_those_of_droplets():
    counts = generate.generated_counts(400, dataset=3, seed=0)
    expressed = np.diff(counts.indptr)
    assert counts.shape == (400, generate.GENES) and counts.has_sorted_indices
    assert np.median(expressed) == pytest.approx(generate.MEDIAN_GENES, rel=0.1)
    assert expressed.min() >= generate.FEWEST and expressed.max() <= generate.MOST
    assert 0.4 < np.std(np.log(expressed)) < 0.6
    assert (counts.data == counts.data.round()).all() and counts.data.min() == 1
    assert 0.6 < (counts.data == 1).mean() < 0.8 and counts.data.max() > 100


def test_popular_genes_are_popular_in_every_dataset():
    cells_g = [(generate.generated_counts(100, dataset, seed=0) > 0).mean(axis=0).A1 for dataset in (0, 1)]
    assert np.corrcoef(*cells_g)[0, 1] > 0.9
    assert max(cells_g[0]) > 0.95 and np.median(cells_g[0]) < 0.1


def test_seed_and_dataset_decide():
    first, same, other_dataset, other_seed = (
        generate.generated_counts(5, dataset, seed) for dataset, seed in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert (first != same).nnz == 0
    assert (first != other_dataset).nnz and (first != other_seed).nnz


@pytest.mark.parametrize("cells", [1, 120, 60_000], ids=["one", "few", "all"])
def test_datasets_share_the_cells_unequally(cells):
    sizes = generate.dataset_sizes(cells, seed=0)
    assert sizes.sum() == cells and sizes.min() >= 1
    assert len(sizes) == max(1, min(generate.DATASETS, cells // 50))
    if len(sizes) == generate.DATASETS:
        assert sizes.max() > 5 * np.median(sizes)
