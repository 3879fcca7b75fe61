"""Generated cells in the forms that the measured systems read: a SOMA collection, an h5ad file, shards."""

import json
import tempfile
from pathlib import Path

import anndata as ad
import numba
import numpy as np
import pandas as pd
import tiledbsoma as soma
from scipy import sparse

from wced.config import corpus as config
from wced.corpus import FORMAT_VERSION as CORPUS_VERSION
from wced.corpus.build import build_census
from wced.corpus.cells import COLUMNS
from wced.corpus.census import measured_genes, open_census
from wced.corpus.datasets import OBS_COLUMNS
from wced.files import whole_folder
from wced.shards import FORMAT_VERSION as SHARDS_VERSION
from wced.shards.vocabulary import Labels, Vocabulary, make_labels, write_measured
from wced.shards.write import inputs_sha256, shard_bounds, write_index, write_shard

GENES = 19_362
"""Protein-coding genes of the paper's vocabulary."""
MEDIAN_GENES, SPREAD, FEWEST, MOST = 1700, 0.5, 200, 8000
"""Expressed genes of a cell: median and log-normal spread, as in 10x data, and the limits."""
POPULARITY, SHIFT = 1.8, 0.3
"""Log-normal spread of genes' popularity, and of each dataset's own shift of it."""
DATASETS = 120
"""Datasets of unequal size, or fewer, so that each has 50 cells on average."""
SHARDS = 4
ORGANISM = "homo_sapiens"


@numba.njit(cache=True)
def _alias_table(weight_g):
    """Return the tables that sample from `weight_g` with one lookup (Walker 1977, Vose 1991)."""
    n = len(weight_g)
    chance = weight_g * (n / weight_g.sum())
    alias = np.arange(n)
    small, large = np.empty(n, np.int64), np.empty(n, np.int64)
    n_small, n_large = 0, 0
    for g in range(n):
        if chance[g] < 1.0:
            small[n_small] = g
            n_small += 1
        else:
            large[n_large] = g
            n_large += 1
    while n_small > 0 and n_large > 0:
        n_small -= 1
        low, high = small[n_small], large[n_large - 1]
        alias[low] = high
        chance[high] -= 1.0 - chance[low]
        if chance[high] < 1.0:
            n_large -= 1
            small[n_small] = high
            n_small += 1
    for k in range(n_small):  # left over by rounding
        chance[small[k]] = 1.0
    return chance, alias


@numba.njit(cache=True)
def _sample(rng, chance, alias, offsets, gene, count):
    """Sample molecules for each cell until it expresses as many genes as its offsets leave room for."""
    n_genes = len(chance)
    molecules = np.zeros(n_genes, np.int64)
    for i in range(len(offsets) - 1):
        missing = offsets[i + 1] - offsets[i]
        molecules[:] = 0
        while missing > 0:
            g = np.int64(rng.random() * n_genes)
            if rng.random() >= chance[g]:
                g = alias[g]
            missing -= molecules[g] == 0
            molecules[g] += 1
        position = offsets[i]
        for g in range(n_genes):
            if molecules[g] > 0:
                gene[position], count[position] = g, molecules[g]
                position += 1


def dataset_sizes(cells: int, seed: int) -> np.ndarray:
    """Return the number of cells of each dataset: log-normal shares, at least one cell; int64, (datasets,)."""
    n = max(1, min(DATASETS, cells // 50))
    share = np.random.default_rng((seed, 1)).lognormal(0.0, 1.0, n)
    ends = np.round(np.cumsum(share / share.sum()) * (cells - n)).astype(np.int64)
    return np.diff(ends, prepend=0) + 1


def generated_counts(cells: int, dataset: int, seed: int) -> sparse.csr_matrix:
    """Return raw counts of one dataset, cells × `GENES`, float32.

    The number of expressed genes is log-normal. Molecules are sampled by the genes' popularity until that many genes
    have one, so most counts are 1, with a heavy tail.
    """
    rng = np.random.default_rng((seed, 2, dataset))
    expressed = np.exp(rng.normal(np.log(MEDIAN_GENES), SPREAD, cells)).round().clip(FEWEST, MOST).astype(np.int64)
    popularity = np.random.default_rng((seed, 3)).normal(0.0, POPULARITY, GENES) + rng.normal(0.0, SHIFT, GENES)
    offsets = np.concatenate([[0], np.cumsum(expressed)])
    gene, count = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
    _sample(rng, *_alias_table(np.exp(popularity)), offsets, gene, count)
    return sparse.csr_matrix((count, gene, offsets), shape=(cells, GENES))


def _dataset(cells: int, number: int, seed: int) -> ad.AnnData:
    """Return one harmonised dataset."""
    counts, name = generated_counts(cells, number, seed), f"dataset_{number:03d}"
    rng = np.random.default_rng((seed, 4, number))
    cell_type, donor = rng.integers(60, size=cells), rng.integers(8, size=cells)
    nnz, raw_sum = np.diff(counts.indptr), np.asarray(counts.sum(axis=1)).ravel().astype(np.float64)
    ids = [f"{name}-{i}" for i in range(cells)]
    known = {
        "dataset_id": name,
        "cell_type_ontology_term_id": [f"CL:{code:07d}" for code in cell_type],
        "cell_type": [f"cell type {code}" for code in cell_type],
        "tissue_ontology_term_id": f"UBERON:{number % 20:07d}",
        "tissue_general_ontology_term_id": f"UBERON:{number % 10:07d}",
        "donor_id": [f"donor {code}" for code in donor],
        "is_primary_data": True,
        "observation_joinid": ids,
        "raw_sum": raw_sum,
        "nnz": nnz.astype(np.int64),
        "raw_mean_nnz": raw_sum / nnz,
        "raw_variance_nnz": 0.0,
        "n_measured_vars": GENES,
        "mt_fraction": 0.0,
    }
    obs = pd.DataFrame({column: known.get(column, "unknown") for column in OBS_COLUMNS}, index=pd.Index(ids, dtype=str))
    genes = [f"ENSG{g:011d}" for g in range(GENES)]
    var = pd.DataFrame({"feature_name": genes, "feature_type": "protein_coding", "feature_length": 1000}, index=genes)
    return ad.AnnData(counts, obs=obs, var=var, uns={"title": name, "citation": "generated"})


def open_collection(census: str | Path) -> soma.Collection:
    """Open the generated collection as the pipeline does."""
    return open_census(config.Census(uri=str(census)))


def write_shards(
    experiment: soma.Experiment, cells: pd.DataFrame, vocabulary: Vocabulary, labels: Labels, dataset_ids: list[str],
    paths: list[Path], inputs: str,
) -> None:  # fmt: skip
    """Write all cells to some shards, one after the other, with the pipeline's own function."""
    bounds = shard_bounds(cells["nnz"].to_numpy(), len(paths))
    for i, path in enumerate(paths):
        write_shard(
            path, experiment, cells.iloc[bounds[i] : bounds[i + 1]], vocabulary, labels, dataset_ids,
            batch_cells=config.Shards().batch_cells, number=i, count=len(paths), inputs=inputs,
        )  # fmt: skip


def _write_shard_folders(folder: Path, cells: pd.DataFrame) -> None:
    """Write the folder of shards, and one whose index lists each of them four times (its files are links)."""
    shards, fourfold = folder / "shards", folder / "shards_4x"
    shards.mkdir()
    with open_collection(folder / "census") as collection:
        dataset_ids = sorted(cells["dataset_id"].unique())
        feature_ids, measured = measured_genes(collection, ORGANISM, dataset_ids)
        vocabulary, labels = Vocabulary(tuple(feature_ids), tuple(feature_ids)), make_labels(cells)
        vocabulary.write(shards / "vocabulary.tsv")
        labels.write(shards / "labels.json")
        write_measured(shards / "measured.arrow", dataset_ids, measured)
        inputs = inputs_sha256(folder / "cells.parquet", shards / "vocabulary.tsv")
        paths = [shards / f"shard-{i}.arrow" for i in range(SHARDS)]
        write_shards(collection["census_data"][ORGANISM], cells, vocabulary, labels, dataset_ids, paths, inputs)
    write_index(shards / "index.json", paths, folder / "cells.parquet", shards / "vocabulary.tsv")
    index = json.loads((shards / "index.json").read_text())
    index |= {"cells": 4 * index["cells"], "shards": 4 * index["shards"]}
    fourfold.mkdir()
    for file in set(shards.iterdir()) - {shards / "index.json"}:
        (fourfold / file.name).hardlink_to(file)
    (fourfold / "index.json").write_text(json.dumps(index))


def write_data(folder: str | Path, cells: int, seed: int) -> None:
    """Write the generated cells, sorted by dataset, in every form, unless the folder already holds them.

    The folder has `census/` (SOMA, Census layout), `shards/`, `shards_4x/` (which lists each shard four times),
    `cells.h5ad` (one uncompressed file, CSR float32, obs: soma_joinid), `cells.parquet` (as `wced cells` writes it),
    `data.json` (the parameters), and for each soma_joinid `dataset.npy` (int32), `raw_sum.npy` (float64, molecules) and
    `nnz.npy` (int64).
    """
    folder = Path(folder)
    parameters = {"cells": cells, "genes": GENES, "seed": seed, "corpus": CORPUS_VERSION, "shards": SHARDS_VERSION}
    if (folder / "data.json").exists() and json.loads((folder / "data.json").read_text()) == parameters:
        return
    sizes = dataset_sizes(cells, seed)
    with whole_folder(folder) as new:
        datasets = [_dataset(int(size), number, seed) for number, size in enumerate(sizes)]
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".sources.") as temporary:
            sources = [Path(temporary) / f"dataset_{number:03d}.h5ad" for number in range(len(sizes))]
            for path, dataset in zip(sources, datasets, strict=True):
                dataset.write_h5ad(path)
            build_census(sources, new / "census")
        obs = pd.concat([dataset.obs.astype({"dataset_id": str}) for dataset in datasets], ignore_index=True)
        obs = obs.assign(soma_joinid=np.arange(cells), split="train")
        x_ng = sparse.vstack([dataset.X for dataset in datasets], format="csr")
        var = pd.DataFrame(index=datasets[0].var_names)
        del datasets
        frame = obs[["soma_joinid"]].set_index(obs["observation_joinid"].to_numpy(str))
        ad.AnnData(x_ng, obs=frame, var=var).write_h5ad(new / "cells.h5ad")
        del x_ng
        chosen = obs[[*COLUMNS, "split"]]
        chosen.to_parquet(new / "cells.parquet", index=False)
        np.save(new / "dataset.npy", np.repeat(np.arange(len(sizes), dtype=np.int32), sizes))
        np.save(new / "raw_sum.npy", obs["raw_sum"].to_numpy())
        np.save(new / "nnz.npy", obs["nnz"].to_numpy())
        _write_shard_folders(new, chosen)
        (new / "data.json").write_text(json.dumps(parameters, indent=1) + "\n")
