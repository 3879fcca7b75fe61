"""Config of the speedrun: how good an embedding is after so many minutes of training."""

from typing import Annotated

from pydantic import Field, model_validator

from wced.config.base import Count, Natural, NoDuplicates, Positive, Section
from wced.config.pretraining import Pretraining


class Speedrun(Section):
    """Time to quality: a recipe is trained for minutes, and its embeddings are scored on the way."""

    recipe: Pretraining
    """One checkpoint, whose name is the recipe's and whose `readout` is scored. The minutes replace its `epochs`; after
    the warm-up the learning rate follows the share of the minutes that have passed."""
    minutes: list[Positive] = Field([1.0, 2.0, 5.0, 10.0], min_length=1)
    """Minutes of training after which the model is scored, ascending; training ends at the last. The untrained model is
    always scored."""
    seeds: Annotated[list[Natural], NoDuplicates] = Field([0, 1, 2], min_length=1)
    """Seeds of the trainings, which run one after the other."""
    datasets: list[str] = []
    """Datasets of the table that are scored and not in the corpus; held-out ones only on request."""
    validation: list[str] = []
    """Datasets of the corpus whose validation cells are scored, as `validation_<dataset>`: development data."""
    max_cells: int = Field(4000, ge=100)
    """Cells of a dataset that are scored; of larger datasets a random sample, the same for all models."""
    batch_size: Count = 256
    """Cells embedded at once; it does not change the result."""
    neighbours: int = Field(15, ge=5)
    """Nearest neighbours in the graph of the integration scores, as `benchmarks.neighbours`."""
    cluster_seeds: Count = 5
    """Clustering seeds over which AvgBio is averaged, as `benchmarks.cluster_seeds`; not seeds of a training."""
    folds: int = Field(5, ge=2)
    """Folds of the probe, as in `benchmarks.czi`."""
    min_class_size: int = Field(10, ge=2)
    """Cells that a class needs for the probe, as in `benchmarks.czi`."""
    n_top_genes: int = Field(2000, ge=10)
    """Highly variable genes of the baselines `hvg` and `pca`."""
    n_components: int = Field(50, ge=2)
    """Principal components of the baselines `pca` and `corpus_pca`."""

    @model_validator(mode="after")
    def _check_recipe(self) -> "Speedrun":
        if len(self.recipe.checkpoints) != 1:
            raise ValueError(f"recipe.checkpoints: a recipe is one checkpoint, here are {len(self.recipe.checkpoints)}")
        checkpoint = self.recipe.checkpoints[self.name]
        if checkpoint.cells < 1 or checkpoint.seed is not None:
            raise ValueError("recipe: cells and seed have no effect in a speedrun, which has its own seeds")
        if self.recipe.devices > 1:
            raise ValueError("recipe.devices: a speedrun trains on one")
        if checkpoint.extend_from is not None:
            raise ValueError("recipe: extend_from has no effect in a speedrun, which starts anew")
        if checkpoint.early_stop is not None or (checkpoint.mlm is not None and checkpoint.mlm.choice == "adaptive"):
            raise ValueError("recipe: early_stop and adaptive choices need validations, which a speedrun does not make")
        if sorted(set(self.minutes)) != self.minutes:
            raise ValueError("minutes: they must ascend")
        if not self.datasets and not self.validation:
            raise ValueError("there is nothing to score: give datasets or validation")
        return self

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return next(iter(self.recipe.checkpoints))
