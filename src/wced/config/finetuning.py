"""Config of fine-tuning: a pretrained model learns a column of labels."""

from typing import Literal

from pydantic import Field, model_validator

from wced.config.base import Count, Natural, NonNegative, Positive, Probability, Section, Share
from wced.config.pretraining import Optimiser


class Lora(Section):
    """Low-rank adapters (Hu et al. 2022): W + alpha / rank · B A; B and A are trained, and the sum is written."""

    rank: Count = 8
    """Rows of A and columns of B."""
    alpha: Positive = 16.0
    """Scale of the added matrix, divided by `rank`."""
    dropout: Probability = 0.05
    """Dropout of the adapters' input, in training."""


class HeldOut(Section):
    """How the labelled cells are divided into train, validation and test."""

    by: Literal["cell", "group", "column"] = "cell"
    """Single cells, in proportion to the classes; whole groups (donors, batches), so that train keeps every class; or
    by a column. If that column has no validation cells, single train cells become them."""
    column: str | None = None
    """Column of obs with the groups, or with the words train, validation and test."""
    validation: float = Field(0.1, gt=0, lt=1)
    """Share of cells by which training stops and the best epoch is chosen."""
    test: Probability = 0.0
    """Share of cells that training never sees; 0 for none."""

    @model_validator(mode="after")
    def _check_shares(self) -> "HeldOut":
        if (self.by == "cell") != (self.column is None):
            raise ValueError(f"by {self.by} {'wants no' if self.by == 'cell' else 'wants a'} column")
        if self.by == "column" and self.test:
            raise ValueError("test: a split by column has the test cells that the column says")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} + test {self.test} leave no cell for training")
        return self


class FinetuningOptimiser(Optimiser):
    """AdamW and its schedule, as in pretraining but with a higher rate and without warm-up, for few steps."""

    learning_rate: Positive = 1e-3
    """Peak learning rate. Large encoders that are fully trained may need a lower one."""
    warmup_steps: Natural = 0
    """Steps over which the learning rate rises linearly."""


class Finetuning(Section):
    """How a pretrained model learns a column of labels."""

    mode: Literal["full", "frozen", "last_layers", "lora"] = "full"
    """What is trained besides the new head: everything; nothing; the last layers of the encoder; or low-rank adapters
    of all linear layers of its attention and feed-forward parts."""
    last_layers: Count = 2
    """Number of layers that `last_layers` trains."""
    lora: Lora = Lora()
    """The adapters of `lora`."""
    loss: Literal["focal", "cross_entropy", "hierarchical"] = "cross_entropy"
    """Focal loss, cross-entropy, or, for a column of Cell Ontology ids, hierarchical cross-entropy."""
    focal_gamma: NonNegative = 2.0
    """Focusing exponent of the focal loss."""
    residual_weight: Share | None = 0.25
    """`hierarchical`: weight of a cell for the leaf 'not further specified' of its label, if other labels are finer;
    null for no such leaves. As in pretraining."""
    cls_position: Natural | None = None
    """CLS position that the head reads, counted from 0; null for the first that a loss of the checkpoint trained, else
    0."""
    reconstruction: NonNegative = 0.0
    """Weight of whole-cell expression decoding, for detection and for value; the label has 1. Above 0 only for
    checkpoints that decode whole cells."""
    held_out: HeldOut = HeldOut()
    """Cells for validation and test."""
    min_class_size: Count = 10
    """Classes with fewer labelled cells are left out, and their cells counted."""
    balance: Share = 0.0
    """0: an epoch has each cell once. Above: it has as many samples, those of a class of n cells in proportion to n to
    the power of 1 - balance, but no cell more than ten times; 1 makes the classes equally frequent."""
    dropout: Probability | None = None
    """Probability that an expressed gene is left out of a training input; null for the checkpoint's."""
    epochs: Count = 100
    """Largest number of passes over the training cells. A training that ends so while the validation loss may still
    fall reports it."""
    patience: Count | None = 5
    """Epochs without a smaller validation loss after which training ends; null for never."""
    batch_size: Count = 32
    """Cells in a batch."""
    optimiser: FinetuningOptimiser = FinetuningOptimiser()
    """AdamW and its schedule, for all trained weights."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true"] = "auto"
    """Arithmetic of training, as Lightning names it; as in pretraining."""
    progress_every: Count = 20
    """Steps between two rows of the training metrics."""

    @model_validator(mode="after")
    def _check_reconstruction(self) -> "Finetuning":
        if self.mode == "frozen" and self.reconstruction:
            raise ValueError("reconstruction: a frozen encoder can not learn from it")
        return self
