"""Config of the embeddings of held-out datasets."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wced.config.base import Count, NoDuplicates, Section, Share, local_path

Baseline = Literal["hvg", "pca", "harmony", "scvi", "corpus_pca"]
"""Names of the baselines: modules of `wced.embedding.baselines`."""


class Scvi(Section):
    """The baseline `scvi`: a variational autoencoder trained on the counts and batches of the scored cells."""

    epochs: Count = 50
    """Passes over the cells. scvi-tools itself takes min(400, 400 × 20,000 / cells): set 400 for that."""
    latent: int = Field(10, ge=2)
    """Dimensions of the embedding (scvi-tools: 10)."""
    layers: Count = 1
    """Hidden layers of encoder and decoder (scvi-tools: 1)."""


class External(Section):
    """Embeddings that were made elsewhere, for the same tables."""

    embeddings: str
    """Path of the h5ad file of each dataset, with `{dataset}` for its name. It has the cells of the dataset, in any
    order."""
    key: str = Field("X", pattern=r"^(X|obsm/.+)$")
    """Where the embedding is in the file: `X` or `obsm/NAME`."""
    n_params: int = Field(ge=0)
    """Trained parameters of the model."""
    leakage: str = Field("not checked (embedding from elsewhere)", min_length=1)
    """What is known about whether the model has seen the cells; it is shown beside every score."""
    space: Literal["common", "dataset"] = "common"
    """`dataset` if the model was fitted to each dataset separately, so that their dimensions differ in meaning."""

    @model_validator(mode="after")
    def _check_path(self) -> "External":
        if "{dataset}" not in self.embeddings:
            raise ValueError("embeddings is the path of a file for each dataset: write {dataset} where its name stands")
        self.path("x")
        return self

    def path(self, dataset: str) -> str:
        """Return the path of the file of a dataset."""
        return local_path(self.embeddings.replace("{dataset}", dataset))


class Readout(Section):
    """A further embedding of a checkpoint, from other vectors than its own `readout`."""

    checkpoint: str
    """Checkpoint."""
    pooling: list[str] = Field(min_length=1)
    """Vectors to read: `cls`, `cls:2` (any CLS position), `mean` (over genes) or `head:COLUMN`. `@BLOCK` after one of
    the first three reads them after that block, not the last; `-batch` subtracts the mean of the cell's batch. Several
    are joined side by side."""
    allow_untrained: bool = False
    """Whether `pooling` may read vectors that no loss trains; the column `leakage` of their scores says so."""


class Embedding(Section):
    """Embeddings of cells that no model was pretrained on."""

    datasets: list[str]
    """Datasets of the table to embed; none may be in the pretraining corpus. A dataset whose file is missing is left
    out and listed in the table `skipped`."""
    concat: list[str] = []
    """Checkpoints whose embeddings are joined side by side as the model `concat`; empty for none."""
    readouts: dict[str, Readout] = {}
    """Further embeddings of checkpoints, by the name of their model in the tables, such as
    `{wced_label: {checkpoint: wced_multitask, pooling: ["cls:1"]}}`."""
    step_0: Annotated[list[str], NoDuplicates] = []
    """Checkpoints whose weights before the first step, initialised from statistics of the corpus, are the baseline
    `<checkpoint>_step_0`. The difference between both is what training adds."""
    untrained: str | None = None
    """Checkpoint whose encoder with random weights is the baseline `untrained`; null for none. Its difference from
    `step_0` is what the initialisation adds."""
    untrained_seeds: Annotated[list[int], NoDuplicates] = []
    """Further seeds of random weights, each a model `untrained_<seed>`; `untrained` itself has the seed of the run."""
    baselines: list[Baseline] = ["hvg", "pca"]
    """Simple baselines. Fitted to the scored cells: `hvg` (log-normalised highly variable genes), `pca` (their
    principal components), `harmony` (these, corrected for the batch) and `scvi` (a variational autoencoder). Fitted to
    the pretraining corpus only: `corpus_pca` (its principal components, the linear zero-shot model)."""
    external: dict[str, External] = {}
    """Embeddings from elsewhere, by the name of their model."""
    min_gene_share: dict[str, Share] = {}
    """Smallest share of a checkpoint's genes that a dataset must have, by dataset, for targeted panels and files of
    variable genes, such as `{my_panel: 0.01}`; 0.1 for others."""
    n_top_genes: int = Field(2000, ge=10)
    """Highly variable genes of the baselines. If a dataset expresses fewer, all are used, and the column `leakage` of
    the scores says so."""
    n_components: int = Field(50, ge=2)
    """Principal components of the baselines `pca`, `harmony` and `corpus_pca`; one fewer than its cells or genes in a
    smaller dataset."""
    corpus_pca_cells: int = Field(100_000, ge=3)
    """Largest number of training cells, sampled at random, to which `corpus_pca` is fitted."""
    scvi: Scvi = Scvi()
    """The baseline `scvi`."""
    batch_size: Count = 256
    """Cells embedded at once; it does not change the result."""

    @model_validator(mode="after")
    def _check_names(self) -> "Embedding":
        if self.untrained_seeds and self.untrained is None:
            raise ValueError("untrained_seeds are of the baseline untrained, which is null")
        for name in self.min_gene_share:
            if name not in self.datasets:
                raise ValueError(f"min_gene_share: {name} is not in embedding.datasets")
        for name in [*self.readouts, *self.external]:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"readouts and external: {name!r} is no name of letters, digits, _ and -")
        for name in self.models:
            if self.models.count(name) > 1:
                raise ValueError(f"{name} is the name of two models")
        return self

    @property
    def step_0_models(self) -> dict[str, str]:
        """Checkpoint of each model with the weights before the first step."""
        return {f"{name}_step_0": name for name in self.step_0}

    @property
    def untrained_models(self) -> dict[str, int | None]:
        """Seed of each untrained model; None for the seed of the run."""
        if self.untrained is None:
            return {}
        return {"untrained": None, **{f"untrained_{seed}": seed for seed in self.untrained_seeds}}

    @property
    def models(self) -> list[str]:
        """Names of all models that embed cells except the checkpoints themselves."""
        concat = ["concat"] if self.concat else []
        return [
            *self.readouts, *concat, *self.step_0_models, *self.untrained_models, *self.baselines, *self.external,
        ]  # fmt: skip
