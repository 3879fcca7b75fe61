"""Config of the model and its pretraining."""

from typing import Literal

from pydantic import Field, model_validator

from wced.config.base import Section


class Model(Section):
    """Size of the encoder: a bidirectional LLaMA over gene + value embeddings."""

    hidden_size: int = Field(384, ge=8)
    """Width of embeddings and of the residual stream."""
    layers: int = Field(12, ge=1)
    """Transformer blocks."""
    heads: int = Field(12, ge=1)
    """Attention heads; must divide `hidden_size`."""
    intermediate_size: int = Field(1536, ge=8)
    """Width of the SwiGLU feed-forward layers."""
    value_encoder: Literal["periodic", "mlp"] = "periodic"
    """How an expression value becomes a vector: sines and cosines of trainable frequencies, or a small MLP."""
    value_frequencies: int = Field(48, ge=1)
    """Number of frequencies of the periodic encoder."""
    cls_positions: int = Field(1, ge=1, le=16)
    """CLS tokens before the genes. Expression is decoded from the first; `label_heads` say which one each reads."""
    decoder_width: int = Field(384, ge=8)
    """Width of the hidden layer of the decoders that read expression from an embedding."""
    head_dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout before the label heads, the only dropout of the model."""

    @model_validator(mode="after")
    def _whole_heads(self) -> "Model":
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        return self


class Input(Section):
    """How a cell becomes a sequence of genes and values."""

    length: int = Field(8192, ge=2)
    """Largest number of genes in a sequence, CLS not counted."""
    subset: Literal["random", "most_expressed"] = "random"
    """Genes that a training sequence keeps when a cell expresses more than fit (after dropout): a random subset, or
    the most expressed, which is what inference always takes. The shorter the sequence, the more it matters that
    both see the same."""
    values: Literal["log1p_10k", "ranks", "bins"] = "log1p_10k"
    """What stands for expression in the input: log1p of counts per 10,000; the rank among the cell's expressed genes,
    between 0 and 1; or one of `bins` bins of equal frequency. What is predicted is log1p_10k always."""
    bins: int = Field(50, ge=2)
    """Number of bins."""
    zeros: Literal["exclude", "include", "interleave"] = "exclude"
    """Genes that the cell does not express: never in the input; all of them, as far as the length allows, as zeros that
    have an embedding of their own (also when cells are embedded); or mixed in at random at `nonzero_ratio`."""
    nonzero_ratio: float = Field(0.9, gt=0, le=1)
    """Share of expressed genes in the sequence when zeros are interleaved (the paper: 0.9)."""
    nonzero_only: float = Field(0.0, ge=0, le=1)
    """Share of cells whose sequence has no zeros although zeros are interleaved (the reference code: 0.2)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability with which an expressed gene is left out of the input, before values are normalised (WCED: 0.2)."""


class Masking(Section):
    """Masked language modelling: which positions must be predicted."""

    select: float = Field(1.0, gt=0, le=1)
    """Share of positions chosen for prediction."""
    mask: float = Field(0.95, ge=0, le=1)
    """Share of the chosen positions whose value is hidden, while the gene stays visible; only they enter the loss."""


class Order(Section):
    """In which order an epoch visits the training cells."""

    strategy: Literal["shuffled", "weighted", "round_robin"] = "shuffled"
    """Each cell once; as many draws as there are cells, rare classes of `field` more often than frequent ones; or one
    cell of each class of `field` in turn, small classes again and again."""
    field: Literal[
        "dataset_id",
        "cell_type_ontology_term_id",
        "tissue_ontology_term_id",
        "tissue_general_ontology_term_id",
        "donor_id",
        "assay_ontology_term_id",
    ] = "dataset_id"
    """Column whose classes are balanced."""
    exponent: float = Field(0.5, ge=0, le=1)
    """`weighted`: a class of n cells is drawn in proportion to n to the power of 1 - exponent; 1 makes all classes
    equally frequent."""
    max_repeats: float = Field(10.0, ge=1)
    """`weighted`: largest expected number of draws of a cell in an epoch."""
    block_cells: int = Field(64, ge=1, le=256)
    """Cells that lie together on disk and are read together."""
    buffer_blocks: int = Field(512, ge=64)
    """Blocks, from anywhere in the corpus, whose cells are shuffled together."""
    bucket_steps: int = Field(1, ge=1)
    """Length buckets: cells of this many steps are sorted by the length of their sequences, so that batches need little
    padding; 1 for none."""


class LabelHead(Section):
    """A label predicted from the CLS embedding."""

    column: Literal[
        "cell_type_ontology_term_id",
        "tissue_ontology_term_id",
        "tissue_general_ontology_term_id",
        "donor_id",
        "assay_ontology_term_id",
    ]
    """Column of obs that holds the label; these are the ones that shards carry."""
    loss: Literal["hierarchical", "focal", "cross_entropy"]
    """Hierarchical cross-entropy over the Cell Ontology, focal loss, or cross-entropy."""
    cls_position: int = Field(0, ge=0)
    """CLS position that the head reads, counted from 0; `model.cls_positions` says how many there are."""
    weight: float = Field(1.0, ge=0)
    """Weight in the sum of losses."""
    focal_gamma: float = Field(2.0, ge=0)
    """Focusing exponent of the focal loss."""


class Optimiser(Section):
    """AdamW and its schedule."""

    learning_rate: float = Field(1e-4, gt=0)
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay rates of AdamW's moments."""
    weight_decay: float = Field(0.1, ge=0)
    """Decay of the weights of linear layers; biases, norms and embeddings do not decay."""
    warmup_steps: int = Field(1000, ge=0)
    """Steps over which the learning rate rises linearly."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate after the warm-up: constant, or a cosine to a tenth of the peak."""
    clip: float = Field(0.5, gt=0)
    """Largest norm of the gradient."""


class Checkpoint(Section):
    """One pretrained model."""

    objective: Literal["wced", "mlm"]
    """Whole-cell expression decoding from CLS, or masked language modelling at every masked position."""
    input: Input = Input()
    """How a cell becomes a sequence."""
    order: Order = Order()
    """Which training cells come when."""
    masking: Masking = Masking()
    """Which positions MLM predicts; unused by WCED."""
    detection_weight: float = Field(1.0, ge=0)
    """Weight of the binary cross-entropy on whether a gene is expressed."""
    value_weight: float = Field(1.0, ge=0)
    """Weight of the mean squared error on log1p(counts per 10,000)."""
    label_heads: list[LabelHead] = []
    """Labels that are learned at the same time."""
    reconstruction_only_epochs: float = Field(0.0, ge=0)
    """Epochs (or part of one) of reconstruction alone before the label heads join."""
    epochs: int = Field(8, ge=1)
    """Passes over the training cells."""
    batch_size: int = Field(64, ge=1)
    """Cells in a batch of one process."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are added up before a step."""
    optimiser: Optimiser = Optimiser()
    """AdamW and its schedule."""

    @model_validator(mode="after")
    def _reconstructs(self) -> "Checkpoint":
        # A batch may have no label, and label heads may wait: reconstruction must be there to learn from.
        if not self.detection_weight + self.value_weight:
            raise ValueError("detection_weight and value_weight are both 0; one must be positive")
        return self


class Pretraining(Section):
    """Pretraining: one model size, any number of checkpoints."""

    model: Model = Model()
    """Size of the encoder, the same for all checkpoints of a run."""
    checkpoints: dict[str, Checkpoint]
    """Name of each checkpoint and how it is trained."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true"] = "auto"
    """Lightning's word for the arithmetic of training; `auto` is bf16-mixed on devices that multiply bfloat16
    natively and 32-true on others."""
    devices: int = Field(1, ge=1)
    """Processes (GPUs, where there are some) of one training."""
    workers: int = Field(0, ge=0)
    """Threads that make batches ahead of time, for each device; batches do not depend on it. One core makes some
    100,000 sequences a second, so this matters where a device must not wait even that long."""
    save_every_minutes: float = Field(5.0, gt=0)
    """Time between savings of the training state, from which a killed job goes on."""
    progress_every: int = Field(20, ge=1)
    """Steps between two rows of the training metrics."""

    @model_validator(mode="after")
    def _heads_have_a_place(self) -> "Pretraining":
        for name, checkpoint in self.checkpoints.items():
            for head in checkpoint.label_heads:
                if head.cls_position >= self.model.cls_positions:
                    raise ValueError(
                        f"checkpoints.{name}.label_heads: {head.column} reads CLS position {head.cls_position}, but "
                        f"model.cls_positions is {self.model.cls_positions}"
                    )
        return self
