"""The datasets that a speedrun scores, and their scores by the functions of the benchmarks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from speed.speedrun_training import Snapshot
from wced import h5ad
from wced.benchmarks.czi import Czi
from wced.benchmarks.czi.score import label_prediction
from wced.benchmarks.job import Job
from wced.benchmarks.neighbours import neighbours_of
from wced.benchmarks.zero_shot_integration import Integration
from wced.benchmarks.zero_shot_integration.score import score as integration
from wced.checkpoint import Checkpoint
from wced.config.speedrun import Speedrun
from wced.contracts import CELL_TYPE
from wced.corpus.datasets import Dataset
from wced.embedding.baselines import LEAKAGE, corpus_pca
from wced.embedding.baselines.hvg import hvg
from wced.embedding.baselines.pca import pca
from wced.embedding.inference import embed
from wced.embedding.inputs import ModelInput, read_cells
from wced.embedding.pooling import Pooling
from wced.errors import WcedError
from wced.files import sha256
from wced.shards.components import MOST_CELLS
from wced.shards.reader import ShardSet

BATCH_COLUMNS = ("donor_id", "assay_ontology_term_id")
"""Labels of the shards whose combinations are the batches of validation cells."""


@dataclass(frozen=True)
class Scored:
    """Cells that embeddings are scored on."""

    name: str
    """Name in the table."""
    role: str
    """`development` or `held_out`."""
    leakage: str
    """What a model trained on the shards has seen of them."""
    adata: AnnData
    """Raw counts as X; obs has `batch` and the cell type."""
    sha256: str | None = None
    """Checksum of its file; None for cells of the shards."""


def scored_datasets(
    shards: ShardSet, section: Speedrun, sources: str | Path, rows: Mapping[str, Dataset], *, held_out: bool
) -> list[Scored]:
    """Read the validation cells of the shards and the datasets that a section scores.

    The folder `sources` has the harmonised datasets as `<dataset>.h5ad`; `rows`, the table of datasets, says which ones
    are held out, and these are scored only if `held_out`. Of a dataset with more than `max_cells` cells comes a random
    sample with the first seed. Raises WcedError if a dataset is not in the table or is
    trained on, or if nothing is left to score.
    """
    for name in section.datasets:
        if name not in rows:
            raise WcedError(f"speedrun.datasets: {name} is not in the table of datasets")
        if name in shards.dataset_ids:
            raise WcedError(f"speedrun.datasets: {name} is trained on; list it in speedrun.validation")
    datasets = [_validation(shards, name) for name in section.validation]
    for name in section.datasets:
        role = "held_out" if rows[name].role == "held_out" else "development"
        if held_out or role == "development":
            path = Path(sources) / f"{name}.h5ad"
            adata = h5ad.read(path, "a harmonised dataset to score")
            if len(adata) > section.max_cells:
                rows_n = np.random.default_rng(section.seeds[0]).choice(len(adata), section.max_cells, replace=False)
                adata = adata[np.sort(rows_n)].copy()
            datasets.append(Scored(name, role, "none (dataset held out, by dataset id)", adata, sha256(path)))
    if not datasets:
        raise WcedError("speedrun: all its datasets are held out; give development data, or --held-out")
    return datasets


def _validation(shards: ShardSet, name: str) -> Scored:
    """Return the validation cells of a dataset of the corpus, with the genes of the vocabulary that it measured."""
    if name not in shards.dataset_ids:
        raise WcedError(f"speedrun.validation: {name} is none of the shards' datasets: {', '.join(shards.dataset_ids)}")
    if CELL_TYPE not in shards.label_columns:
        raise WcedError(f"speedrun.validation: the shards have no label {CELL_TYPE}")
    code, rows = shards.dataset_ids.index(name), shards.places("validation")
    rows = rows[shards.column("dataset", rows) == code]
    if not len(rows):
        raise WcedError(f"speedrun.validation: the shards have no validation cells of {name}")
    cells, measured_g = shards.take(rows), shards.measured_dv[code]
    x_ng = sparse.csr_matrix(
        (cells.count.astype(np.float32), cells.gene.astype(np.int64), cells.offsets),
        (len(rows), len(shards.vocabulary)),
    )
    labels = {
        column: np.array([*shards.labels.classes[column], "unknown"])[shards.column(column, rows)]
        for column in (CELL_TYPE, *BATCH_COLUMNS)
        if column in shards.label_columns
    }
    batches = [labels[column] for column in BATCH_COLUMNS if column in labels] or [np.full(len(rows), name)]
    obs = pd.DataFrame(
        {CELL_TYPE: labels[CELL_TYPE], "batch": [" ".join(parts) for parts in zip(*batches, strict=True)]},
        index=shards.column("soma_joinid", rows).astype(str),
    )
    var = pd.DataFrame(index=np.array(shards.vocabulary.gene_ids)[measured_g])
    adata = AnnData(x_ng[:, np.flatnonzero(measured_g)], obs=obs, var=var)
    return Scored(f"validation_{name}", "development", "validation cells of a dataset that is trained on", adata)


class Scorer:
    """Scores embeddings of the same cells again and again, all with the same folds and clusterings."""

    def __init__(self, shards: ShardSet, section: Speedrun, datasets: Sequence[Scored]) -> None:
        """Take what all embeddings share; the seed of all scores is the first of the section."""
        self.shards, self.section, self.datasets = shards, section, list(datasets)
        self._cells: dict[str, ModelInput] = {}

    def snapshot(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return the scores of a model: the columns of tables.SPEEDRUN that are not about training."""
        checkpoint = Checkpoint(
            snapshot.model, self.shards.vocabulary, self.shards.labels, snapshot.ontology, snapshot.input_genes
        )
        pooling = Pooling(None, snapshot.model)
        frames = []
        for dataset in self.datasets:
            if dataset.name not in self._cells:  # all models of a recipe read the same input
                self._cells[dataset.name] = read_cells(dataset.adata, checkpoint)
            cells = self._cells[dataset.name]
            x_nd = embed(cells, checkpoint, pooling=pooling, batch_size=self.section.batch_size, obs=dataset.adata.obs)
            frames.append(self._scores(dataset, x_nd, "recipe", pooling.leakage(dataset.leakage)))
        return pd.concat(frames, ignore_index=True)

    def baselines(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield the name and the scores of each baseline.

        `hvg` and `pca` are fitted on the scored cells; `corpus_pca` on the training cells, as models are.
        """
        genes, components, seed = self.section.n_top_genes, self.section.n_components, self.section.seeds[0]
        linear = corpus_pca.fit(self.shards, components, MOST_CELLS, seed)
        for name, embedding in {
            "hvg": lambda dataset: hvg(dataset.adata, genes),
            "pca": lambda dataset: pca(dataset.adata, genes, components, seed),
            "corpus_pca": lambda dataset: linear.embed(dataset.adata),
        }.items():
            frames = []
            for dataset in self.datasets:
                leakage = dataset.leakage if name == "corpus_pca" else LEAKAGE
                frames.append(self._scores(dataset, embedding(dataset), name, leakage))
            yield name, pd.concat(frames, ignore_index=True)

    def _scores(self, dataset: Scored, x_nd: np.ndarray, model: str, leakage: str) -> pd.DataFrame:
        """Return the scores of an embedding, as `snapshot` does."""
        if not np.isfinite(x_nd).all():
            raise WcedError(f"{dataset.name}: the embedding by {model} is not finite")
        facts = {"model": model, "n_params": 0, "width": x_nd.shape[1], "dataset": dataset.name, "leakage": leakage}
        obs = dataset.adata.obs[[CELL_TYPE, "batch"]]
        embedding = AnnData(x_nd.astype(np.float32), obs=obs, uns={"wced": facts | {"source": "here"}})
        section, names, seed = self.section, [dataset.name], self.section.seeds[0]
        probe = Czi(datasets=names, folds=section.folds, min_class_size=section.min_class_size, seed=seed)
        graph = neighbours_of(embedding, section.neighbours, seed, section.cluster_seeds)
        job = Job("speedrun", seed, Integration(datasets=names), embedding, neighbours=graph)
        # Of cz-benchmarks' tasks only label prediction: integration has clusters and silhouettes.
        probed = label_prediction(Job("speedrun", seed, probe, embedding))
        frame = pd.concat([integration(job), probed], ignore_index=True)
        columns = ["dataset", "task", "metric", "value", "n", "width", "protocol", "leakage", "reason"]
        return frame[columns].assign(role=dataset.role)
