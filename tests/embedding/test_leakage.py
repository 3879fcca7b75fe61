import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from wced.corpus.census import open_census
from wced.corpus.obs import read_joinids, write_joinids
from wced.embedding import leakage
from wced.embedding.leakage import ALL, count_hashes, find, in_words
from wced.errors import WcedError
from wced.shards.reader import ShardSet

MIN_GENES = 20


@pytest.fixture(autouse=True)
def fewer_genes(monkeypatch):
    monkeypatch.setattr(leakage, "MIN_GENES", MIN_GENES)


@pytest.fixture(scope="module")
def corpus(made):
    return ShardSet(made.shards)


@pytest.fixture(scope="module")
def soma_joinids(corpus):
    return corpus.column("soma_joinid", np.concatenate([corpus.places("train"), corpus.places("validation")]))


@pytest.fixture(scope="module")
def joinids(made, soma_joinids, tmp_path_factory):
    path = tmp_path_factory.mktemp("joinids") / "joinids.parquet"
    with open_census(made.run.census, made.census) as census:
        write_joinids(census, made.run.census, np.sort(soma_joinids), path)
    return path


@pytest.fixture
def blood(made, soma_joinids, joinids):
    """Cells of the corpus's first dataset, those that are trained or validated on."""
    source = ad.read_h5ad(made.sources[0])
    return source[source.obs["observation_joinid"].isin(read_joinids(joinids, soma_joinids))].copy()


@pytest.fixture
def search(corpus, joinids, tmp_path):
    """Return a function that looks for cells in the corpus, and returns the table by dataset of the corpus."""

    def search(adata, **options):
        adata.write_h5ad(tmp_path / "d.h5ad")
        return find(tmp_path / "d.h5ad", "d", corpus, joinids, **options).set_index("corpus_dataset")

    return search


def pairs_of(adata, row, genes):
    counts = adata.X[row].toarray().ravel()
    return {(gene, int(count)) for gene, count in zip(adata.var_names, counts, strict=True) if count and gene in genes}


def test_copies_are_found_by_their_ids(blood, search):
    blood.X = sparse.csr_matrix(blood.X.toarray() + 1)
    table = search(blood)
    assert table.index.tolist() == ["blood_symbols", ALL]
    assert (table[["by_joinid", "found", "cells"]] == blood.n_obs).all(axis=None) and (table["by_hash"] == 0).all()


def test_cells_packaged_again_are_found_by_their_counts(blood, corpus, search):
    """Other names, order of genes, a third of the genes gone, foreign genes with counts, and five cells recounted."""
    rng = np.random.default_rng(0)
    kept = np.sort(rng.choice(blood.n_vars, 2 * blood.n_vars // 3, replace=False))
    again = blood[rng.permutation(blood.n_obs), kept[rng.permutation(len(kept))]].copy()
    counts = again.X.toarray()
    counts[:5, np.flatnonzero(again.var_names.isin(corpus.vocabulary.gene_ids))[0]] += 1
    foreign = rng.poisson(3, (again.n_obs, 40))
    again = ad.AnnData(
        sparse.csr_matrix(np.hstack([foreign, counts]).astype(np.float32)),
        obs=pd.DataFrame({"observation_joinid": [f"n{i}" for i in range(again.n_obs)]}, index=again.obs_names),
        var=pd.DataFrame(index=[*(f"ENSG9{i:010d}" for i in range(40)), *again.var_names]),
    )
    assert search(again).loc["blood_symbols", ["cells", "compared", "by_joinid", "by_hash", "found"]].tolist() == [
        again.n_obs, again.n_obs, 0, again.n_obs - 5, again.n_obs - 5,
    ]  # fmt: skip


def test_the_same_cells_are_found_by_brute_force(made, blood, corpus, search):
    """Every pair of cells is compared as sets; a tenth of the scored cells are copies."""
    held = ad.read_h5ad(made.held_out)
    rows = np.arange(0, blood.n_obs, 10)
    both = ad.concat([held, blood[rows]], join="inner")
    both.obs["observation_joinid"] = [f"n{i}" for i in range(both.n_obs)]
    both.obs_names_make_unique()
    table = search(both)
    expected = np.zeros(both.n_obs, bool)
    for source in made.sources:
        other = ad.read_h5ad(source)
        genes = set(other.var_names) & set(both.var_names) & set(corpus.vocabulary.gene_ids)
        theirs = [pairs_of(other, row, genes) for row in range(other.n_obs)]
        ours = [pairs_of(both, row, genes) for row in range(both.n_obs)]
        expected |= [len(mine) >= MIN_GENES and mine in theirs for mine in ours]
    assert expected.sum() == len(rows)
    assert table.loc[ALL, "by_hash"] == expected.sum()
    assert table.loc["blood_symbols", "found"] == len(rows)


@pytest.mark.parametrize(
    ("role", "words"), [("development", "development data: its scores chose recipes; 30"), ("held_out", "30")]
)
def test_scores_on_development_data_say_so(role, words, blood, search):
    table = search(blood[:30].copy(), role=role).reset_index()
    assert in_words(table).startswith(f"{words} of 30 cells found in the corpus")


def test_cells_of_few_genes_are_not_compared(blood, corpus, search):
    poor = blood.copy()
    counts = poor.X.toarray()
    vocabulary = poor.var_names.isin(corpus.vocabulary.gene_ids)
    counts[0] = 0
    counts[0, np.flatnonzero(vocabulary)[: MIN_GENES - 1]] = 1
    poor.X = sparse.csr_matrix(counts)
    counts = search(poor).loc[ALL, ["compared", "by_hash", "by_joinid"]]
    assert counts.tolist() == [poor.n_obs - 1, poor.n_obs - 1, poor.n_obs]


def test_cells_without_counts_are_found_by_their_ids_alone(blood, search):
    blood = blood[:7].copy()
    blood.X = blood.X * 0
    table = search(blood)
    assert table.loc[ALL, ["compared", "by_hash", "by_joinid"]].tolist() == [0, 0, 7]
    words = "7 of 7 cells found in the corpus (blood_symbols; counts were not compared)"
    assert in_words(table.reset_index()) == words


def test_in_words(made, search, blood):
    held = search(ad.read_h5ad(made.held_out)).reset_index()
    assert in_words(held) == "none (0 of 180 cells found in the corpus)"
    table = search(blood).reset_index()
    some = pd.DataFrame([{"role": "held_out", "corpus_dataset": ALL, "cells": 2000, "compared": 1500, "found": 0}])
    assert in_words(some) == "none (0 of 2,000 cells found in the corpus; counts of 1,500 were compared)"
    assert in_words(table) == f"{blood.n_obs} of {blood.n_obs} cells found in the corpus (blood_symbols)"


@given(
    st.dictionaries(st.integers(0, 30), st.integers(1, 2**32 - 1), max_size=12),
    st.dictionaries(st.integers(0, 30), st.integers(1, 2**32 - 1), max_size=12),
    st.randoms(use_true_random=False),
    st.sets(st.integers(0, 30)),
)
def test_hashes_are_those_of_sets_of_compared_pairs(one, other, random, compared):
    compared_v = np.isin(np.arange(31), list(compared))

    def hashed(pairs):
        gene, count = (np.array([pair[k] for pair in pairs], dtype) for k, dtype in ((0, np.uint16), (1, np.uint32)))
        return count_hashes(np.array([0, len(pairs)]), gene, count, compared_v, 1)[0]

    def kept(pairs):
        return {gene: count for gene, count in pairs.items() if gene in compared}

    shuffled = list(one.items())
    random.shuffle(shuffled)
    assert hashed(list(one.items())) == hashed(shuffled)
    assert (hashed(list(one.items())) == hashed(list(other.items()))) == (kept(one) == kept(other))
    assert (hashed(list(one.items())) == 0) == (not kept(one))


def test_ids_are_those_of_the_sources(made, corpus, joinids):
    places = corpus.places("validation")[::-1]
    joinid_n = read_joinids(joinids, corpus.column("soma_joinid", places))
    ids = [ad.read_h5ad(source, backed="r").obs["observation_joinid"].astype(str) for source in made.sources]
    # soma_joinids are numbered in the order of the sources
    assert joinid_n.tolist() == pd.concat(ids).to_numpy()[corpus.column("soma_joinid", places)].tolist()


def test_ids_of_other_cells_are_refused(joinids):
    with pytest.raises(WcedError, match="has no cell 99999999 of the corpus"):
        read_joinids(joinids, np.array([99999999]))


def test_a_dataset_without_ids_is_refused(made, search):
    held = ad.read_h5ad(made.held_out)
    del held.obs["observation_joinid"]
    with pytest.raises(WcedError, match="no column observation_joinid"):
        search(held)
