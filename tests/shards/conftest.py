from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="session")
def annotated(made, tmp_path_factory):
    """The made cells with columns of obs that a screen has, and shards of another choice of columns, as commands make.

    `guide` names perturbed genes, by symbol or Ensembl id, `dose` and `days` (text) are numbers, `batch` and `treated`
    labels.
    """
    from wced.cli import shards
    from wced.config.corpus import Shards
    from wced.corpus.cells import read_cells
    from wced.shards.vocabulary import Vocabulary

    folder, rng = tmp_path_factory.mktemp("annotated"), np.random.default_rng(0)
    frame, genes = read_cells(made.cells), Vocabulary.read(made.shards / "vocabulary.tsv")
    n, places = len(frame), {symbol: genes.symbols.index(symbol) for symbol in ("CD3D", "MS4A1", "LYZ")}
    guides = ["control", "CD3D", f"{genes.gene_ids[places['MS4A1']]}.7", "LYZ;CD3D", "unknown", "LINC00001", ""]
    more = pd.DataFrame(
        {
            "guide": rng.choice(guides, n), "dose": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(size=n)),
            "days": rng.choice(["1", "2.5", "unknown"], n), "batch": rng.choice(["1", "2"], n),
            "treated": rng.random(n) < 0.5,
        }
    )  # fmt: skip
    table = pq.read_table(made.cells)
    for name in more:
        table = table.append_column(name, pa.array(more[name]))
    cells, output = folder / "cells.parquet", folder / "shards"
    pq.write_table(table, cells)
    census = made.run.census.model_dump_json()
    section = Shards(
        count=2, batch_cells=100, label_columns=["batch", "cell_type", "treated", "guide"],
        number_columns=["dose", "days", "raw_sum"], perturbed_column="guide",
    ).model_dump_json()  # fmt: skip
    vocabulary = output / "vocabulary.tsv"
    shards.vocabulary(made.genes, cells, census, vocabulary, collection=made.census, section=section)
    files = [output / f"shard-{i}.arrow" for i in range(2)]
    for i, file in enumerate(files):
        shards.shard(cells, vocabulary, census, section, i, file, collection=made.census)
    shards.shard_index(files, cells, vocabulary, output / "index.json")
    perturbed = {"CD3D": ["CD3D"], guides[2]: ["MS4A1"], "LYZ;CD3D": ["LYZ", "CD3D"]}
    return SimpleNamespace(
        cells=cells,
        shards=output,
        frame=pd.concat([frame.reset_index(drop=True), more], axis=1),
        perturbed={guide: sorted(places[symbol] for symbol in symbols) for guide, symbols in perturbed.items()},
    )
