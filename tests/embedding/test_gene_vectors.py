from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from small_model import make_checkpoint
from wced import cli, tables
from wced.checkpoint import save
from wced.embedding.baselines import corpus_pca
from wced.embedding.files import read_embedding
from wced.embedding.gene_vectors import input_vectors, write_all
from wced.errors import WcedError
from wced.genes.embeddings import read_gene_embeddings
from wced.shards.reader import ShardSet
from wced.shards.vocabulary import Labels, Vocabulary

checkpoint = partial(make_checkpoint, 24, [], None, labels=Labels({}, {}), scale=1)


@pytest.fixture(scope="module")
def shards(made):
    return ShardSet(made.shards)


@pytest.fixture(scope="module")
def annotation(shards):
    empty = {"str": "x", "bool": False, "float": 0.5}
    columns = {column.name: empty[column.kind] for column in tables.GENE_ANNOTATION.columns}
    return pd.DataFrame(columns | {"gene_id": shards.vocabulary.gene_ids[1:]})


@pytest.fixture(scope="module")
def components(shards):
    return corpus_pca.fit(shards, 5, 100_000, 0)


@pytest.fixture
def written(shards, annotation, components, tmp_path):
    """Return a function that writes the vectors of some models, and returns their names."""
    return lambda models, starts: write_all(tmp_path, models, starts, components, shards, annotation, seed=3)


def test_vectors_are_those_of_the_model_in_the_order_of_the_vocabulary(shards, components, written, tmp_path):
    models = {name: checkpoint(vocabulary=shards.vocabulary, decoders=[d]) for name, d in (("m", "mlm"), ("w", "wced"))}
    starts = {"w_step_0": checkpoint(vocabulary=shards.vocabulary, decoders=["wced"])}
    names = written(models, starts)
    assert names == ["m", "w", "w_decoder", "w_step_0", "untrained", "random", "coexpression_pca", "frequency"]
    read = {name: read_embedding(tmp_path / f"{name}.h5ad") for name in names}
    for name, embedding in read.items():
        assert embedding.obs_names.tolist() == list(shards.vocabulary.gene_ids), name
    table = models["m"].model.embedding.gene.weight.detach().numpy()
    np.testing.assert_array_equal(read["m"].X, table)
    start = starts["w_step_0"].model.embedding.gene.weight.detach().numpy()
    np.testing.assert_array_equal(read["w_step_0"].X, start)
    decoder = models["w"].model.decoders["wced"]
    both = np.hstack([decoder.detection.weight.detach().numpy(), decoder.value.weight.detach().numpy()])
    np.testing.assert_array_equal(read["w_decoder"].X, both)
    assert read["w_decoder"].uns["wced"]["n_params"] == both.size and read["random"].uns["wced"]["n_params"] == 0
    assert not np.array_equal(read["untrained"].X, table) and read["untrained"].shape == table.shape
    np.testing.assert_array_equal(read["coexpression_pca"].X, components.loading_vk)

    cells = shards.take(shards.places("train"))
    expressing = np.bincount(cells.gene, minlength=len(shards.vocabulary))
    obs = read["m"].obs
    assert obs["train_cells"].tolist() == expressing.tolist()
    np.testing.assert_allclose(read["frequency"].X[:, 0], np.log1p(expressing), rtol=1e-6)
    assert obs["family"].tolist()[:2] == ["unknown", "x"]  # the first gene has no annotation
    assert np.isnan(obs["tissue_specificity_tau"].iloc[0])
    assert obs["gene_symbol"].iloc[0] == shards.vocabulary.symbols[0]


def test_another_model_can_start_from_exported_vectors(shards, written, tmp_path):
    written({"m": checkpoint(vocabulary=shards.vocabulary, decoders=["mlm"])}, {})
    matrix_gw, has_row_v = read_gene_embeddings(tmp_path / "m.h5ad", shards.vocabulary.gene_ids)
    assert has_row_v.all() and matrix_gw.shape == (len(shards.vocabulary), 8)


def test_vectors_from_a_file_are_exported_as_the_model_reads_them():
    vocabulary = Vocabulary(("A", "B", "C"), ("a", "b", "c"))
    model = checkpoint(vocabulary=vocabulary, decoders=["mlm"], given_genes=2, given_width=3)
    model.model.embedding.give(torch.randn(2, 3), torch.tensor([True, False, True]), 0.02)
    expected = model.model.embedding.genes(torch.tensor([[2], [1], [0]])).detach().numpy()[::-1, 0]
    np.testing.assert_allclose(input_vectors(model), expected, rtol=1e-5)


def test_other_vocabularies_are_refused(written):
    with pytest.raises(WcedError, match="m: of another vocabulary than the shards"):
        written({"m": checkpoint(vocabulary=Vocabulary(("A",), ("a",)), decoders=["mlm"])}, {})


def test_commands(shards, annotation, components, made, tmp_path, monkeypatch):
    for kind in ("model", "step_0"):
        (tmp_path / "w" / kind).mkdir(parents=True)
        save(checkpoint(vocabulary=shards.vocabulary, decoders=["wced"]), tmp_path / "w" / kind)
    components.write(tmp_path / "pca.npz")
    tables.write(annotation, tables.GENE_ANNOTATION, tmp_path / "annotation.parquet")

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["wced", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0

    run(
        "gene-embeddings", tmp_path / "w", "--step-0", tmp_path / "w", "--shards", made.shards,
        "--components", tmp_path / "pca.npz", "--annotation", tmp_path / "annotation.parquet",
        "--output", tmp_path / "genes",
    )  # fmt: skip
    files = [tmp_path / "genes" / f"{name}.h5ad" for name in ("w", "w_decoder", "w_step_0", "frequency")]
    run("score-genes", *files, "--section", "{}", "--run", "r", "--output", tmp_path / "scores.tsv")
    scores = tables.read(tables.SCORES, tmp_path / "scores.tsv")
    assert list(dict.fromkeys(scores["model"])) == ["w", "w_decoder", "w_step_0", "frequency"]
    assert set(scores["dataset"]) == {"genes"}
