"""Config of pretraining: model, inputs, objectives, order of cells and optimiser of each checkpoint."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wced.config.base import Count, LocalPath, Natural, NoDuplicates, NonNegative, Positive, Probability, Section, Share
from wced.config.gene_groups import PATTERNS
from wced.config.model import Model
from wced.config.readout import cls_word, parse


class Thinning(Section):
    """Thinned counts of training cells, as if they were sequenced less deeply; the target stays the whole cell."""

    share: Share = 0.0
    """Share of cells to thin, sampled again in each pass."""
    min_rate: float = Field(0.1, gt=0, le=1)
    """Each molecule of a thinned cell is kept with one probability, log-uniform between this and 1."""


class Panels(Section):
    """Inputs of training cells that are cut to a set of genes, as if another study or a panel had measured them.

    The kinds of sets below that are used are equally likely; each group and each size is a kind.
    """

    share: Share = 0.0
    """Share of cells to cut, sampled again in each pass."""
    datasets: bool = True
    """Genes that a random dataset of the corpus measured."""
    groups: list[str] = []
    """All genes except those of a gene group."""
    sizes: list[Count] = []
    """A random set of about this number of genes of the vocabulary."""

    @model_validator(mode="after")
    def _check_sets(self) -> "Panels":
        if self.share and not (self.datasets or self.groups or self.sizes):
            raise ValueError("panels: there is no set of genes to cut to: give datasets, groups or sizes")
        return self


class Input(Section):
    """How a cell becomes a sequence of genes and values.

    In this order: gene groups are left out; training cells are cut to panels, thinned, and lose genes to dropout;
    values are normalised; and the sequence keeps as many genes as fit.
    """

    length: int = Field(8192, ge=2)
    """Largest number of genes in a sequence, without CLS."""
    min_length: Count | None = None
    """Lower end of the random length of a training batch, log-uniform up to `length`; null for always `length`."""
    subset: Literal["random", "most_expressed", "informative"] = "random"
    """Genes to keep if a cell expresses more than fit. `random`: random ones, at inference the most expressed;
    `informative`: those with the largest value × (1 − share of training cells that express the gene), which the
    checkpoint stores. The shorter the sequence, the more it matters that training and inference see the same genes."""
    leave_out: list[str] = []
    """Gene groups that are in no input, neither in training nor at inference, but stay in targets: `mitochondrial`,
    `ribosomal`, `haemoglobin`, or names of `gene_groups`. Their share shows the protocol and dying cells, and a dataset
    that was published without them looks like other cells."""
    gene_groups: dict[str, LocalPath] = {}
    """Further gene groups: name, and path of a TSV with a column `gene_id`."""
    panels: Panels = Panels()
    """Training inputs with the genes of a panel only."""
    thinning: Thinning = Thinning()
    """Training inputs of lower depth."""
    values: Literal["log1p_10k", "ranks", "bins"] = "log1p_10k"
    """Input values: log1p of counts per 10,000; ranks among the cell's expressed genes, from 0 to 1; or `bins` bins of
    equal frequency. The predicted value is always log1p_10k."""
    bins: int = Field(50, ge=2)
    """Number of bins."""
    zeros: Literal["exclude", "include", "interleave"] = "exclude"
    """Unexpressed genes in the input: none; as many as fit, with an embedding for zeros (also when cells are embedded);
    or a random part, see `nonzero_ratio`."""
    nonzero_ratio: float = Field(0.9, gt=0, le=1)
    """Share of expressed genes in a sequence with interleaved zeros (the paper: 0.9)."""
    nonzero_only: Share = 0.0
    """Share of cells without zeros although zeros are interleaved (the reference code: 0.2)."""
    dropout: Probability = 0.0
    """Probability that an expressed gene is left out, before values are normalised (WCED: 0.2)."""

    @property
    def groups(self) -> list[str]:
        """Gene groups that the input or panels leave out, without duplicates."""
        return list(dict.fromkeys([*self.leave_out, *self.panels.groups]))

    @model_validator(mode="after")
    def _check_groups(self) -> "Input":
        if self.min_length is not None and self.min_length > self.length:
            raise ValueError(f"min_length {self.min_length} is above length {self.length}")
        for key, names in (("leave_out", self.leave_out), ("panels.groups", self.panels.groups)):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{key}: {name} is duplicated")
                if name not in PATTERNS and name not in self.gene_groups:
                    raise ValueError(f"{key}: {name} is neither {', '.join(PATTERNS)} nor a key of gene_groups")
        return self


class Schedule(Section):
    """When an objective counts, in epochs from the start of the training."""

    start: NonNegative = 0.0
    """Epochs (or part of one) before it counts."""
    ramp: NonNegative = 0.0
    """Epochs over which its weight then rises linearly."""
    stop: NonNegative | None = None
    """Epochs after which it no longer counts; null for never."""

    def factor(self, epochs: float) -> float:
        """Return the share of the weight that counts after so many epochs."""
        if epochs < self.start or (self.stop is not None and epochs >= self.stop):
            return 0.0
        return min((epochs - self.start) / self.ramp, 1.0) if self.ramp else 1.0

    def begins(self, epochs: float) -> bool:
        """Return whether the objective ever counts in a training of so many epochs."""
        return self.start < epochs and (self.stop is None or self.stop > self.start)


class Expression(Section):
    """What both objectives that decode expression share."""

    detection_weight: NonNegative = 1.0
    """Weight of the binary cross-entropy on whether a gene is expressed."""
    value_weight: NonNegative = 1.0
    """Weight of the squared error of log1p(counts per 10,000)."""
    value_loss: Literal["mse", "zero_inflated_mse"] = "mse"
    """Squared error of the value, for expressed genes; or of probability × value, for all genes."""
    value_scale: Literal["none", "gene_std"] = "none"
    """`gene_std` divides the error by the standard deviation of the gene's values in the training cells that express it
    (at least 0.1; 1 for at most 20 such cells), so that all genes count alike; only with `value_loss: mse`. `none` is
    the paper's."""
    depth: bool = False
    """Whether the decoder gets the number of genes that the cell expresses, so that the embedding need not encode the
    depth of sequencing (the paper: false). In MLM each gene then also has its own intercept, as always in WCED."""
    schedule: Schedule = Schedule()
    """When it counts."""

    @model_validator(mode="after")
    def _check_scale(self) -> "Expression":
        if self.value_scale == "gene_std" and self.value_loss == "zero_inflated_mse":
            raise ValueError(
                "value_scale: gene_std is the deviation among cells that express a gene, so it goes with value_loss "
                "mse, not zero_inflated_mse, whose errors are of all cells"
            )
        return self

    @property
    def weight(self) -> float:
        """Sum of the weights of its losses."""
        return self.detection_weight + self.value_weight


class WholeCell(Expression):
    """Whole-cell expression decoding (WCED): the CLS embedding decodes the expression of every gene."""


class Masked(Expression):
    """Masked language modelling (MLM): hidden positions are predicted from the others."""

    select: float = Field(1.0, gt=0, le=1)
    """Share of positions chosen for prediction."""
    choice: Literal["uniform", "adaptive"] = "uniform"
    """Choose all genes equally often; or genes more often the larger their error in the last validation."""
    mask: Share = 0.95
    """Share of the chosen positions whose value is hidden while the gene stays visible; the losses are over these."""
    hide_genes: Share = 0.0
    """Share of the chosen positions whose gene is hidden instead, while the value stays visible."""
    gene_weight: NonNegative = 1.0
    """Weight of the cross-entropy over all genes at hidden genes."""

    @model_validator(mode="after")
    def _check_shares(self) -> "Masked":
        if not 0 < self.mask + self.hide_genes <= 1:
            raise ValueError(f"mask {self.mask} + hide_genes {self.hide_genes} is not above 0 and at most 1")
        return self

    @property
    def weight(self) -> float:
        """Sum of the weights of its losses that have positions."""
        return (super().weight if self.mask else 0.0) + (self.gene_weight if self.hide_genes else 0.0)


class Contrast(Section):
    """Contrast of two views of each cell, which differ in thinning, panels and dropout of the input.

    From a small projection of the CLS embedding of one view, the other view must be recognised among the cells of the
    batch. With batches of one dataset (`order.batches: one_dataset`) it cannot be recognised by its dataset.
    """

    weight: Positive = 1.0
    """Weight in the sum of losses."""
    temperature: Positive = 0.2
    """Divisor of the cosines: the smaller, the more the most similar other cells count."""
    width: int = Field(64, ge=2)
    """Dimensions of the projection."""
    cls_position: Natural = 0
    """CLS position that is projected, counted from 0."""
    positives: str | None = None
    """Column of Cell Ontology ids; cells of the same or a close type are positives too. null for no other cells."""
    most_links: Natural = 0
    """Largest number of is_a links, up or down, between the types of `positives`; 0 for the same type."""
    schedule: Schedule = Schedule()
    """When it counts."""


class Order(Section):
    """Order in which an epoch visits the training cells."""

    strategy: Literal["shuffled", "weighted", "round_robin"] = "shuffled"
    """Each cell once; as many samples as cells, more often from rare classes; or a cell of each class in turn, with
    small classes again and again."""
    columns: Annotated[tuple[str, ...], NoDuplicates] = Field(("dataset_id",), min_length=1)
    """Columns whose combinations are the classes: `dataset_id`, or any of `shards.label_columns`. Unknown is a class
    too. `[dataset_id, cell_type_ontology_term_id]` balances the types of each dataset."""
    power: Share = 0.5
    """`weighted`: a cell of a class of n cells has a weight proportional to n to the power of -power. 0: equal weights;
    0.5: 1/√n; 1: all classes equally frequent."""
    max_repeats: float = Field(10.0, ge=1)
    """`weighted`: largest expected number of samples of a cell in an epoch."""
    batches: Literal["mixed", "one_dataset"] = "mixed"
    """`mixed`: a step has cells of all datasets. `one_dataset`: a step, on all devices, has cells of one dataset, and
    the steps of a dataset are proportional to the weights of its cells (only `shuffled` and `weighted`)."""
    block_cells: int = Field(64, ge=1, le=256)
    """Contiguous cells on disk that are read together."""
    buffer_blocks: int = Field(512, ge=64)
    """Blocks, from anywhere in the corpus, whose cells are shuffled together."""
    epoch_cells: Count | None = None
    """Cells of an epoch, which starts where the last one ended; null for all training cells once. With the same number,
    trainings on corpora of different sizes take equally many steps between validations."""
    bucket_steps: Count = 1
    """Steps whose cells (of one dataset, with such batches) are sorted by sequence length, so that batches need little
    padding; 1 for no sorting."""

    @model_validator(mode="after")
    def _check_batches(self) -> "Order":
        if self.batches == "one_dataset" and self.strategy == "round_robin":
            raise ValueError("batches: one_dataset goes with the strategies shuffled and weighted, not round_robin")
        return self


class GradientReversal(Section):
    """Reversal of a head's gradient before the encoder, which then unlearns the label."""

    coefficient: Positive = 1.0
    """Factor of the reversed gradient."""
    schedule: Schedule = Schedule()
    """When the reversal counts; the head itself follows its own schedule."""


class LabelHead(Section):
    """A label predicted from the CLS embedding."""

    column: str
    """Column of obs with the label: one of `shards.label_columns`, or of `shards.number_columns` for `mse`."""
    loss: Literal["hierarchical", "focal", "cross_entropy", "mse"]
    """Hierarchical cross-entropy over the Cell Ontology, focal loss, cross-entropy, or the squared error of a number
    (standardised by its mean and deviation in training cells)."""
    cls_position: Natural = 0
    """CLS position that the head reads, counted from 0, below `model.cls_positions`."""
    weight: NonNegative = 1.0
    """Weight in the sum of losses."""
    focal_gamma: NonNegative = 2.0
    """Focusing exponent of the focal loss."""
    residual_weight: Share | None = 0.25
    """`hierarchical`: labels above other labels get their own leaf, 'not further specified', so that they can be
    predicted; this is the weight of their cells for that leaf. 0: the leaf is never learned; 1: a coarse label counts
    against the finer ones as much as these against it; null: no such leaves (the paper)."""
    schedule: Schedule = Schedule()
    """When it counts."""
    gradient_reversal: GradientReversal | None = None
    """Makes the encoder unlearn this label (a donor, a batch); null to learn it."""


class Optimiser(Section):
    """AdamW and its schedule."""

    learning_rate: Positive = 1e-4
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay rates of AdamW's moments."""
    weight_decay: NonNegative = 0.1
    """Decay of the weights of linear layers; biases, norms and embeddings do not decay."""
    warmup_steps: Natural = 1000
    """Steps over which the learning rate rises linearly."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate after the warm-up: constant, or a cosine down to `final_fraction` of the peak."""
    final_fraction: Share = 0.1
    """Share of the peak at the end of a cosine."""
    clip: Positive = 0.5
    """Largest norm of the gradient."""


class EarlyStop(Section):
    """End of a training that no longer improves."""

    metric: str = "loss"
    """Validation metric (as in metrics.tsv); smaller is better."""
    patience: Count = 3
    """Epochs without a smaller value after which training ends."""


class Checkpoint(Section):
    """One pretrained model, with any combination of objectives."""

    wced: WholeCell | None = None
    """Whole-cell expression decoding; null for none."""
    mlm: Masked | None = None
    """Masked language modelling; null for none."""
    contrast: Contrast | None = None
    """Contrast of two views of each cell; null for none."""
    label_heads: list[LabelHead] = []
    """Labels that are learned at the same time."""
    input: Input = Input()
    """How a cell becomes a sequence."""
    order: Order = Order()
    """Order of the training cells."""
    cells: float = Field(1.0, gt=0, le=1)
    """Share of the training cells to use, sampled with the run's seed; smaller shares are parts of larger ones. All
    validation cells are used."""
    seed: Natural | None = None
    """Seed of weights, order and sequences; null for that of the run."""
    epochs: Count = 8
    """Passes over the training cells, or over `order.epoch_cells` of them."""
    extend_from: LocalPath | None = None
    """Folder of a finished checkpoint (of this run under another name, or of another run) or of a training state with
    fewer `epochs`, whose training is continued; null to start anew. Only `early_stop` and `pretraining.precision` may
    differ. The learning rate follows the new end from there on, so the result differs from one long training; the
    checkpoint says so."""
    batch_size: Count = 64
    """Cells in a batch of one process."""
    accumulate: Count = 1
    """Batches whose gradients are added up in a step."""
    optimiser: Optimiser = Optimiser()
    """AdamW and its schedule."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Decay per step of a moving average of the weights, which is validated and written; null for none."""
    early_stop: EarlyStop | None = None
    """When to end before the last epoch; null for never."""
    readout: list[str] | None = Field(None, min_length=1)
    """Vectors that are the checkpoint's embedding, as for `wced embed --pooling`; several are joined side by side. null
    follows the losses: `cls` with wced; else `mean` with mlm, also with label heads; else the CLS position of the first
    label head. The checkpoint stores it, so a change trains again; `embedding.readouts` reads a trained checkpoint in
    further ways."""
    allow_untrained: bool = False
    """Whether `readout` may read vectors that no loss trains; the column `leakage` of their scores says so."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""
    compile: bool = False
    """Compile the encoder's blocks with torch.compile."""

    @model_validator(mode="after")
    def _check_objectives(self) -> "Checkpoint":
        if self.wced is None and self.mlm is None and self.contrast is None and not self.label_heads:
            raise ValueError("there is no objective: give wced, mlm, contrast or label_heads")
        for name, part in (("wced", self.wced), ("mlm", self.mlm)):
            if part is not None and not part.weight:
                raise ValueError(f"{name}: all weights are 0; one must be positive")
        if self.wced is not None and self.mlm is not None and self.wced.depth != self.mlm.depth:
            raise ValueError("wced.depth and mlm.depth differ, but both decoders of a model get the depth, or neither")
        columns = [head.column for head in self.label_heads]
        for column in columns:
            if columns.count(column) > 1:
                raise ValueError(f"label_heads: {column} is duplicated")
        if len({head.residual_weight is None for head in self.label_heads if head.loss == "hierarchical"}) > 1:
            raise ValueError(
                "label_heads: residual_weight is null for one hierarchical head and a number for another, but a model "
                "has one ontology"
            )
        if self.early_stop is not None:
            decoded = [name for name in ("wced", "mlm") if getattr(self, name) is not None]
            metrics = [*(f"{name}_{part}" for name in decoded for part in ("detection", "value")), *columns]
            if not metrics:
                raise ValueError("early_stop: a contrast alone is not validated, so nothing tells when to end")
            if self.early_stop.metric not in ("loss", *metrics):
                raise ValueError(f"early_stop.metric: {self.early_stop.metric} is none of loss, {', '.join(metrics)}")
        return self

    @property
    def losses(self) -> dict[str, str]:
        """Vectors that each loss trains, by its name: `cls`, `cls:1`, … or `mean`, all gene positions.

        The first one is the default of `readout`. MLM comes before label heads, although these read a CLS position,
        because all cells train it, labelled or not, and heads only separate their labels. Losses without a weight or
        that never begin are left out, and so are heads with gradient reversal, whose gradient only removes information.
        """
        heads = [head for head in self.label_heads if head.gradient_reversal is None]
        objectives = [
            ("wced", "cls", self.wced),
            ("contrast", cls_word(self.contrast.cls_position if self.contrast else 0), self.contrast),
            ("mlm", "mean", self.mlm),
            *((head.column, cls_word(head.cls_position), head) for head in heads),
        ]
        return {
            name: vectors
            for name, vectors, part in objectives
            if part is not None and part.weight > 0 and part.schedule.begins(self.epochs)
        }

    @property
    def depth(self) -> bool:
        """Whether decoders of expression get the number of genes that the cell expresses."""
        return any(part.depth for part in (self.wced, self.mlm) if part is not None)

    @property
    def read_from(self) -> list[str]:
        """The words of `readout`, or those that follow from the losses."""
        return self.readout or [next(iter(self.losses.values()), "cls")]


class Pretraining(Section):
    """Pretraining: any number of checkpoints of one model size."""

    model: Model = Model()
    """The encoder, the same for all checkpoints of a run."""
    checkpoints: dict[str, Checkpoint]
    """Name of each checkpoint and how it is trained."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Arithmetic of training, as Lightning names it; `auto` is bf16-mixed on devices that are faster in bfloat16 (GPUs
    since Ampere, processors with AMX, AMD's with AVX-512 BF16), and 32-true on others."""
    devices: Count = 1
    """Processes (GPUs, if there are some) of one training."""
    workers: Natural = 0
    """Threads for each device that make batches in advance, without an effect on the batches. One core makes some
    100,000 sequences a second, so only very fast devices need them."""
    save_every_minutes: Positive = 5.0
    """Minutes between two saved training states, from which a killed job continues."""
    progress_every: Count = 20
    """Steps between two rows of the training metrics."""

    @model_validator(mode="after")
    def _check_checkpoints(self) -> "Pretraining":
        for name, checkpoint in self.checkpoints.items():
            readers = [(f"label_heads: {head.column}", head) for head in checkpoint.label_heads]
            readers += [("contrast", checkpoint.contrast)] if checkpoint.contrast else []
            for what, part in readers:
                if part.cls_position >= self.model.cls_positions:
                    raise ValueError(
                        f"checkpoints.{name}.{what} reads CLS position {part.cls_position}, but "
                        f"model.cls_positions is {self.model.cls_positions}"
                    )
            if self.model.value_encoder == "table" and checkpoint.input.values != "bins":
                raise ValueError(f"checkpoints.{name}.input.values: model.value_encoder table needs bins")
            self.check_readout(f"checkpoints.{name}.readout", name, checkpoint.read_from, checkpoint.allow_untrained)
        return self

    def check_readout(self, key: str, name: str, words: Sequence[str], allow_untrained: bool) -> None:
        """Raise ValueError, naming the config's `key`, for words that checkpoint `name` does not have or not train."""
        checkpoint, model = self.checkpoints[name], self.model
        heads = [head.column for head in checkpoint.label_heads]
        for text in words:
            try:
                word = parse(text, cls_positions=model.cls_positions, layers=model.layers, heads=heads)
            except ValueError as failure:
                raise ValueError(f"{key}: {failure}") from None
            if not (allow_untrained or word.trained(checkpoint.losses)):
                trained = ", ".join(dict.fromkeys(checkpoint.losses.values())) or "nothing"
                raise ValueError(
                    f"{key}: no loss trains {text}; the losses of this checkpoint read {trained}. Read that, or set "
                    "allow_untrained: true beside it, and its scores are marked"
                )
