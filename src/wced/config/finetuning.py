"""Config of fine-tuning: teach a pretrained model a column of labels."""

from typing import Literal

from pydantic import Field, model_validator

from wced.config.base import Section
from wced.config.pretraining import Optimiser


class Lora(Section):
    """Low-rank adapters (Hu et al. 2022): W + alpha / rank · B A is trained in B and A, and written as one matrix."""

    rank: int = Field(8, ge=1)
    """Rows of A and columns of B."""
    alpha: float = Field(16.0, gt=0)
    """Scale of what they add, divided by `rank`."""
    dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout of what the adapters read, in training."""


class HeldOut(Section):
    """Which of the labelled cells are for training, and which to stop by and to be judged by."""

    by: Literal["cell", "group", "column"] = "cell"
    """Single cells in proportion to the classes; whole groups (donors, batches), chosen so that train keeps every
    class; or as a column says. Where that column says validation of no cell, single train cells are taken for it."""
    column: str | None = None
    """Column of obs with the groups, or with the words train, validation and test."""
    validation: float = Field(0.1, gt=0, lt=1)
    """Share of cells to validate on, by which training stops and the best epoch is chosen."""
    test: float = Field(0.0, ge=0, lt=1)
    """Share of cells that training never sees; none are needed."""

    @model_validator(mode="after")
    def _complete(self) -> "HeldOut":
        if (self.by == "cell") != (self.column is None):
            raise ValueError(f"by {self.by} {'wants no' if self.by == 'cell' else 'wants a'} column")
        if self.by == "column" and self.test:
            raise ValueError("test: a split by column has the test cells that the column says")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} + test {self.test} leave no cell for training")
        return self


class FinetuningOptimiser(Optimiser):
    """AdamW and its schedule, as in pretraining but with a higher rate and without a warm-up: there are few steps."""

    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate. Large encoders that are trained in full may want less."""
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises linearly."""


class Finetuning(Section):
    """How a pretrained model learns a column of labels."""

    mode: Literal["full", "frozen", "last_layers", "lora"] = "full"
    """What is trained beside the new head: everything; nothing; the last layers of the encoder; or low-rank adapters of
    all linear layers of its attention and feed-forward parts."""
    last_layers: int = Field(2, ge=1)
    """How many layers `last_layers` trains."""
    lora: Lora = Lora()
    """The adapters of `lora`."""
    loss: Literal["focal", "cross_entropy", "hierarchical"] = "cross_entropy"
    """Focal loss, cross-entropy, or, for a column of Cell Ontology ids, hierarchical cross-entropy."""
    focal_gamma: float = Field(2.0, ge=0)
    """Focusing exponent of the focal loss."""
    residual_weight: float | None = Field(0.25, ge=0, le=1)
    """`hierarchical`: what a cell counts for the leaf 'not further specified' of its label, where others are finer;
    null for no such leaves. As in pretraining."""
    cls_position: int | None = Field(None, ge=0)
    """CLS position that the head reads, counted from 0; null for the first that a loss of the checkpoint trained, and 0
    where none did."""
    reconstruction: float = Field(0.0, ge=0)
    """Weight of whole-cell expression decoding, detection and value each, beside the label's weight of 1; 0 for
    none. Only for checkpoints that can decode whole cells."""
    held_out: HeldOut = HeldOut()
    """Cells to validate on and to test with."""
    min_class_size: int = Field(10, ge=1)
    """Classes with fewer labelled cells are left out, and their cells counted."""
    balance: float = Field(0.0, ge=0, le=1)
    """0: an epoch has each cell once. Above, it has as many draws, those of a class of n cells in proportion to n to
    the power of 1 - balance, and no cell more than ten times; 1 makes the classes equally frequent."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Probability with which a training input lacks an expressed gene; null for that of the checkpoint."""
    epochs: int = Field(100, ge=1)
    """Most passes over the training cells. A training that ends by them while the validation loss may still fall says
    so."""
    patience: int | None = Field(5, ge=1)
    """Epochs without a smaller validation loss after which training ends; null for never."""
    batch_size: int = Field(32, ge=1)
    """Cells in a batch."""
    optimiser: FinetuningOptimiser = FinetuningOptimiser()
    """AdamW and its schedule, the same for the head and for what else is trained."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true"] = "auto"
    """Lightning's word for the arithmetic of training, as in pretraining."""
    progress_every: int = Field(20, ge=1)
    """Steps between two rows of the training metrics."""

    @model_validator(mode="after")
    def _learns(self) -> "Finetuning":
        if self.mode == "frozen" and self.reconstruction:
            raise ValueError("reconstruction: a frozen encoder can not learn from it")
        return self
