"""Config of the embeddings of held-out datasets."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wced.config.base import Section, local_path

Baseline = Literal["hvg", "pca", "harmony", "scvi", "corpus_pca"]
"""Names of the baselines: modules of `wced.embedding.baselines`."""


class Scvi(Section):
    """The baseline `scvi`: a variational autoencoder trained on the scored cells' counts, which is told their batch."""

    epochs: int = Field(50, ge=1)
    """Passes over the cells. scvi-tools itself takes min(400, 400 × 20,000 / cells) of them: set 400 to follow it."""
    latent: int = Field(10, ge=2)
    """Dimensions of the embedding (scvi-tools: 10)."""
    layers: int = Field(1, ge=1)
    """Hidden layers of encoder and decoder (scvi-tools: 1)."""


class External(Section):
    """Embeddings that were made elsewhere, to stand in the same tables."""

    embeddings: str
    """Path of the h5ad file of each dataset, with `{dataset}` for its name. Its cells are the
    dataset's, in any order."""
    key: str = Field("X", pattern=r"^(X|obsm/.+)$")
    """Where the embedding is in that file: `X` or `obsm/NAME`."""
    n_params: int = Field(ge=0)
    """Trained parameters of the model."""
    leakage: str = Field("not checked (embedding from elsewhere)", min_length=1)
    """What is known of the model having seen the cells; it stands beside every score."""
    space: Literal["common", "dataset"] = "common"
    """`dataset` if the model was fitted to each dataset apart, so that a dimension of one is none of another."""

    @model_validator(mode="after")
    def _of_each_dataset(self) -> "External":
        if "{dataset}" not in self.embeddings:
            raise ValueError("embeddings is the path of a file for each dataset: write {dataset} where its name stands")
        self.path("x")
        return self

    def path(self, dataset: str) -> str:
        """Return the path of the file of a dataset."""
        return local_path(self.embeddings.replace("{dataset}", dataset))


class Readout(Section):
    """An embedding that is read from a checkpoint in another way than the checkpoint's own `readout`."""

    checkpoint: str
    """Checkpoint."""
    pooling: list[str] = Field(min_length=1)
    """What is read: `cls`, `cls:2` (any CLS position), `mean` (over genes) or `head:COLUMN`; with `@BLOCK` behind one
    of the first three after that block instead of the last, and with `-batch` minus the mean of the cell's batch.
    Several stand side by side."""
    allow_untrained: bool = False
    """Whether `pooling` may name vectors that no loss trains; every score of them is marked in the column `leakage`."""


class Embedding(Section):
    """Embeddings of cells that no model was pretrained on."""

    datasets: list[str]
    """Datasets of the table that are embedded; none may be part of the pretraining corpus. One whose file is not there
    is left out, and listed in the table `skipped`."""
    concat: list[str] = []
    """Checkpoints whose embeddings are joined side by side as the model `concat`; empty for none."""
    readouts: dict[str, Readout] = {}
    """Further embeddings by checkpoints, by the name of the model that each is in the tables: e.g.
    `{wced_label: {checkpoint: wced_multitask, pooling: ["cls:1"]}}`. A checkpoint by its own name is its `readout`."""
    step_0: list[str] = []
    """Checkpoints whose weights before the first step, their start from statistics of the corpus included, are the
    baseline `<checkpoint>_step_0`: what training adds to a checkpoint is the difference from it."""
    untrained: str | None = None
    """Checkpoint whose encoder with fresh weights, without a start from statistics, is the baseline `untrained`; null
    for none. Beside `step_0` it says what the start gives, and with `untrained_seeds` what chance does."""
    untrained_seeds: list[int] = []
    """Further seeds of fresh weights: each is a model of its own, `untrained_<seed>`, beside `untrained`, which has the
    run's seed."""
    baselines: list[Baseline] = ["hvg", "pca"]
    """Simple baselines. Fitted on the scored cells are `hvg` (log-normalised highly variable genes), `pca` (their
    principal components), `harmony` (these, corrected for the batch) and `scvi` (a variational autoencoder). Fitted on
    the pretraining corpus alone is `corpus_pca` (its principal components: the linear zero-shot model)."""
    external: dict[str, External] = {}
    """Embeddings from elsewhere, by the name of their model."""
    min_gene_share: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """Smallest share of a checkpoint's genes that a dataset must have, by dataset, for targeted panels and files of
    variable genes: e.g. `{my_panel: 0.01}`. 0.1 for datasets that are not listed."""
    n_top_genes: int = Field(2000, ge=10)
    """Highly variable genes of the baselines; where a dataset expresses fewer, all of them, which the column `leakage`
    of its scores says."""
    n_components: int = Field(50, ge=2)
    """Principal components of the baselines `pca`, `harmony` and `corpus_pca`; of a dataset with fewer cells or genes,
    one fewer than these."""
    corpus_pca_cells: int = Field(100_000, ge=3)
    """Training cells that the components of `corpus_pca` are fitted on, drawn at random where there are more."""
    scvi: Scvi = Scvi()
    """The baseline `scvi`."""
    batch_size: int = Field(256, ge=1)
    """Cells embedded at once; it does not change the result."""

    @model_validator(mode="after")
    def _named_once(self) -> "Embedding":
        if self.untrained_seeds and self.untrained is None:
            raise ValueError("untrained_seeds are of the baseline untrained, which is null")
        if len(set(self.untrained_seeds)) < len(self.untrained_seeds):
            raise ValueError("untrained_seeds: a seed stands there twice")
        for name in self.min_gene_share:
            if name not in self.datasets:
                raise ValueError(f"min_gene_share: {name} is not in embedding.datasets")
        for name in self.step_0:
            if self.step_0.count(name) > 1:
                raise ValueError(f"step_0: {name} is duplicated")
        for name in [*self.readouts, *self.external]:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"readouts and external: {name!r} is no name of letters, digits, _ and -")
        for name in self.models:
            if self.models.count(name) > 1:
                raise ValueError(f"{name} is the name of two models")
        return self

    @property
    def step_0_models(self) -> dict[str, str]:
        """Checkpoint of each model that is the weights of one before its first step."""
        return {f"{name}_step_0": name for name in self.step_0}

    @property
    def untrained_models(self) -> dict[str, int | None]:
        """Seed of each untrained model; None is that of the run."""
        if self.untrained is None:
            return {}
        return {"untrained": None, **{f"untrained_{seed}": seed for seed in self.untrained_seeds}}

    @property
    def models(self) -> list[str]:
        """Names of everything that embeds cells beside the checkpoints themselves."""
        concat = ["concat"] if self.concat else []
        return [
            *self.readouts, *concat, *self.step_0_models, *self.untrained_models, *self.baselines, *self.external,
        ]  # fmt: skip
