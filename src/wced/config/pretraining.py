"""Config of pretraining."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wced.config.base import LocalPath, Section
from wced.config.gene_groups import PATTERNS
from wced.config.model import Model
from wced.config.readout import check, cls_word


class Thinning(Section):
    """Thin the counts of training cells, as if they had been sequenced less deeply; the target stays the whole cell."""

    share: float = Field(0.0, ge=0, le=1)
    """Share of cells, chosen anew in each pass over them."""
    min_rate: float = Field(0.1, gt=0, le=1)
    """Each molecule of such a cell stays with one probability, log-uniform between this and 1."""


class Panels(Section):
    """Cut the input of training cells to a set of genes, as if another study or a panel had measured them.

    The kinds of sets that are asked for are equally likely, each group and each size being one.
    """

    share: float = Field(0.0, ge=0, le=1)
    """Share of cells, chosen anew in each pass over them."""
    datasets: bool = True
    """Genes that a random dataset of the corpus measured."""
    groups: list[str] = []
    """All genes but those of a gene group."""
    sizes: list[Annotated[int, Field(ge=1)]] = []
    """A random set of about so many genes of the vocabulary."""

    @model_validator(mode="after")
    def _sets(self) -> "Panels":
        if self.share and not (self.datasets or self.groups or self.sizes):
            raise ValueError("panels: there is no set of genes to cut to: give datasets, groups or sizes")
        return self


class Input(Section):
    """How a cell becomes a sequence of genes and values.

    Steps in their order: gene groups are left out, training cells are cut to panels, thinned, and lose genes to
    dropout; what is left is normalised; of that the sequence keeps as many genes as fit.
    """

    length: int = Field(8192, ge=2)
    """Largest number of genes in a sequence, CLS not counted."""
    min_length: int | None = Field(None, ge=1)
    """Each training batch has a length of its own, log-uniform between this and `length`; null for `length` always."""
    subset: Literal["random", "most_expressed", "informative"] = "random"
    """Genes that a sequence keeps when a cell expresses more than fit. `random`: a random subset, for which inference
    takes the most expressed. `most_expressed`: these. `informative`: those with the largest value × (1 − detection
    frequency), the share of the corpus' training cells that express the gene, which the checkpoint keeps. The shorter
    the sequence, the more it matters that training and inference see the same."""
    leave_out: list[str] = []
    """Gene groups that are never in the input, in training and inference; targets keep them. `mitochondrial`,
    `ribosomal` and `haemoglobin` are known by symbol, others by `gene_groups`. How much of a cell they are tells
    the protocol and the dying cells, and a dataset published without them looks like another kind of cell."""
    gene_groups: dict[str, LocalPath] = {}
    """Further gene groups: name, and path of a TSV with a column `gene_id`."""
    panels: Panels = Panels()
    """Training inputs with the genes of a panel only."""
    thinning: Thinning = Thinning()
    """Training inputs of lower depth."""
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

    @property
    def groups(self) -> list[str]:
        """Gene groups that the input leaves out or panels lack, each once."""
        return list(dict.fromkeys([*self.leave_out, *self.panels.groups]))

    @model_validator(mode="after")
    def _consistent(self) -> "Input":
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
    """When an objective counts, in epochs from the beginning of the training."""

    start: float = Field(0.0, ge=0)
    """Epochs (or part of one) before it joins."""
    ramp: float = Field(0.0, ge=0)
    """Epochs over which its weight then rises linearly to the full one."""
    stop: float | None = Field(None, ge=0)
    """Epochs after which it leaves; null for never."""

    def factor(self, epochs: float) -> float:
        """Return the share of the weight that is in force after so many epochs."""
        if epochs < self.start or (self.stop is not None and epochs >= self.stop):
            return 0.0
        return min((epochs - self.start) / self.ramp, 1.0) if self.ramp else 1.0

    def begins(self, epochs: float) -> bool:
        """Return whether it is ever in force in a training of so many epochs."""
        return self.start < epochs and (self.stop is None or self.stop > self.start)


class Expression(Section):
    """What both ways of decoding expression share."""

    detection_weight: float = Field(1.0, ge=0)
    """Weight of the binary cross-entropy on whether a gene is expressed."""
    value_weight: float = Field(1.0, ge=0)
    """Weight of the squared error of log1p(counts per 10,000)."""
    value_loss: Literal["mse", "zero_inflated_mse"] = "mse"
    """Squared error of the value where a gene is expressed; or of probability × value everywhere."""
    value_scale: Literal["none", "gene_std"] = "none"
    """`gene_std`: the error of a value is divided, before it is squared, by the standard deviation of the gene's values
    in the training cells that express it (by 0.1 if that is less, by 1 if at most 20 cells express it), so that genes
    count alike however much they vary; with `value_loss: mse` only. `none`: errors as they are (the paper)."""
    depth: bool = False
    """Whether the decoder is told how many genes the cell expresses, so that the embedding need not spend itself on the
    depth of sequencing (the paper: false). Of MLM, each gene then also has an intercept of its own, as WCED's have."""
    schedule: Schedule = Schedule()
    """When it counts."""

    @model_validator(mode="after")
    def _scales_what_is_expressed(self) -> "Expression":
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
    """All genes are chosen as often; or badly predicted ones more often, by their error in the last validation."""
    mask: float = Field(0.95, ge=0, le=1)
    """Share of the chosen positions whose value is hidden, while the gene stays visible; the losses are over these."""
    hide_genes: float = Field(0.0, ge=0, le=1)
    """Share of the chosen positions whose gene is hidden instead, while the value stays visible."""
    gene_weight: float = Field(1.0, ge=0)
    """Weight of the cross-entropy over all genes where the gene is hidden."""

    @model_validator(mode="after")
    def _shares(self) -> "Masked":
        if not 0 < self.mask + self.hide_genes <= 1:
            raise ValueError(f"mask {self.mask} + hide_genes {self.hide_genes} is not above 0 and at most 1")
        return self

    @property
    def weight(self) -> float:
        """Sum of the weights of its losses, of those that have positions."""
        return (super().weight if self.mask else 0.0) + (self.gene_weight if self.hide_genes else 0.0)


class Contrast(Section):
    """Contrast of two views of each cell, made by everything that is random in its input: thinning, panels, dropout.

    A small projection of the CLS embedding of one view must tell which of the batch's cells the other view is of.
    Batches of one dataset (`order.batches: one_dataset`) keep it from telling datasets apart instead.
    """

    weight: float = Field(1.0, gt=0)
    """Weight in the sum of losses."""
    temperature: float = Field(0.2, gt=0)
    """What cosines are divided by: the smaller, the more the most similar other cells count."""
    width: int = Field(64, ge=2)
    """Dimensions of the projection."""
    cls_position: int = Field(0, ge=0)
    """CLS position that is projected, counted from 0."""
    positives: str | None = None
    """Column of Cell Ontology ids: cells of the same or a near type are positives too; null for no other cells."""
    most_links: int = Field(0, ge=0)
    """`positives`: is_a links, up or down, that two types may be apart; 0 for the same type."""
    schedule: Schedule = Schedule()
    """When it counts."""


class Order(Section):
    """In which order an epoch visits the training cells."""

    strategy: Literal["shuffled", "weighted", "round_robin"] = "shuffled"
    """Each cell once; as many samples as there are cells, those of rare classes more often than those of frequent ones;
    or one cell of each class in turn, small classes again and again."""
    columns: tuple[str, ...] = Field(("dataset_id",), min_length=1)
    """Columns whose combinations are the classes: `dataset_id`, or any of `shards.label_columns`. Unknown is a value
    too. `[dataset_id, cell_type_ontology_term_id]` balances the types of each dataset."""
    power: float = Field(0.5, ge=0, le=1)
    """`weighted`: the weight of a cell of a class of n cells is proportional to n to the power of -power: 0 for equal
    weights, 0.5 for 1/√n, 1 makes all classes equally frequent."""
    max_repeats: float = Field(10.0, ge=1)
    """`weighted`: largest expected number of samples of a cell in an epoch."""
    batches: Literal["mixed", "one_dataset"] = "mixed"
    """Cells of all datasets in each step; or of one dataset, over all devices: every dataset then has as many steps as
    its cells' weights sum to, and cells come as often as before (`shuffled` and `weighted`)."""
    block_cells: int = Field(64, ge=1, le=256)
    """Cells that lie together on disk and are read together."""
    buffer_blocks: int = Field(512, ge=64)
    """Blocks, from anywhere in the corpus, whose cells are shuffled together."""
    epoch_cells: int | None = Field(None, ge=1)
    """Cells of an epoch, which begins where the last one ended; null for all training cells once. With the same number,
    trainings on corpora of different sizes take the same steps between two validations."""
    bucket_steps: int = Field(1, ge=1)
    """Length buckets: cells of this many steps (of one dataset, where batches are) are sorted by the length of their
    sequences, so that batches need little padding; 1 for none."""

    @model_validator(mode="after")
    def _each_once(self) -> "Order":
        for column in self.columns:
            if self.columns.count(column) > 1:
                raise ValueError(f"order.columns: {column} is duplicated")
        return self

    @model_validator(mode="after")
    def _datasets_take_no_turns(self) -> "Order":
        if self.batches == "one_dataset" and self.strategy == "round_robin":
            raise ValueError(
                "order.batches: one_dataset goes with the strategies shuffled and weighted, not round_robin"
            )
        return self


class GradientReversal(Section):
    """Turn a head's gradient around before it reaches the encoder, which then unlearns what the head can tell."""

    coefficient: float = Field(1.0, gt=0)
    """What the reversed gradient is multiplied by."""
    schedule: Schedule = Schedule()
    """When the reversal counts; the head itself learns all the time, as its own schedule says."""


class LabelHead(Section):
    """A label predicted from the CLS embedding."""

    column: str
    """Column of obs that holds the label: one of `shards.label_columns`, or of `shards.number_columns` for `mse`."""
    loss: Literal["hierarchical", "focal", "cross_entropy", "mse"]
    """Hierarchical cross-entropy over the Cell Ontology, focal loss, cross-entropy, or the squared error of a number
    (standardised by its mean and deviation in training cells)."""
    cls_position: int = Field(0, ge=0)
    """CLS position that the head reads, counted from 0; `model.cls_positions` says how many there are."""
    weight: float = Field(1.0, ge=0)
    """Weight in the sum of losses."""
    focal_gamma: float = Field(2.0, ge=0)
    """Focusing exponent of the focal loss."""
    residual_weight: float | None = Field(0.25, ge=0, le=1)
    """`hierarchical`: labels above other labels get a leaf of their own, 'not further specified', so that they can be
    predicted; for it, a cell so labelled counts this much against a cell with a finer label. 0: such a leaf is never
    learned; 1: a coarse label speaks as loudly against the finer ones as these against it; null: no such leaves (the
    paper)."""
    schedule: Schedule = Schedule()
    """When it counts."""
    gradient_reversal: GradientReversal | None = None
    """Whether the encoder is to unlearn this label (a donor, a batch); null to learn it."""


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
    """Learning rate after the warm-up: constant, or a cosine to `final_fraction` of the peak."""
    final_fraction: float = Field(0.1, ge=0, le=1)
    """Share of the peak at which a cosine ends."""
    clip: float = Field(0.5, gt=0)
    """Largest norm of the gradient."""


class EarlyStop(Section):
    """End a training that no longer gets better."""

    metric: str = "loss"
    """Validation metric (as in metrics.tsv), where less is better."""
    patience: int = Field(3, ge=1)
    """Epochs without a better value after which training ends."""


class Checkpoint(Section):
    """One pretrained model: any combination of objectives."""

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
    """Which training cells come when."""
    cells: float = Field(1.0, gt=0, le=1)
    """Share of the training cells that is trained on, drawn by the run's seed; a smaller share is part of a larger one.
    Validation is on all validation cells."""
    seed: int | None = Field(None, ge=0)
    """Seed of weights, order and sequences; null for that of the run."""
    epochs: int = Field(8, ge=1)
    """Passes over the training cells, or over `order.epoch_cells` of them."""
    extend_from: LocalPath | None = None
    """Go on from a training of fewer `epochs`, with its weights, optimiser and position: the folder of a finished
    checkpoint or of a training state. All else but `early_stop` and `pretraining.precision` stays as it was. Learning
    rates follow the new end from there on, so the result is not that of a training as long from the start; the
    checkpoint says so. A finished checkpoint of the same run goes on under another name. null to begin anew."""
    batch_size: int = Field(64, ge=1)
    """Cells in a batch of one process."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are added up before a step."""
    optimiser: Optimiser = Optimiser()
    """AdamW and its schedule."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Keep a moving average of the weights with this decay per step, validate it and write it; null for none."""
    early_stop: EarlyStop | None = None
    """When to end before the last epoch; null for never."""
    readout: list[str] | None = Field(None, min_length=1)
    """What the checkpoint's embedding is read from, in words of `wced embed --pooling`; several stand side by side.
    null follows the losses: `cls` with wced; else `mean` with mlm, also beside label heads; else the CLS position of
    the first label head. It is written into the checkpoint, so changing it trains anew; `embedding.readouts` reads a
    trained checkpoint in further ways."""
    allow_untrained: bool = False
    """Whether `readout` may name vectors that no loss trains; every score of them is marked in the column `leakage`."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more time."""
    compile: bool = False
    """Compile the encoder's blocks with torch.compile."""

    @model_validator(mode="after")
    def _learns(self) -> "Checkpoint":
        if self.wced is None and self.mlm is None and self.contrast is None and not self.label_heads:
            raise ValueError("there is no objective: give wced, mlm, contrast or label_heads")
        for name, part in (("wced", self.wced), ("mlm", self.mlm)):
            if part is not None and not part.weight:
                raise ValueError(f"{name}: all weights are 0; one must be positive")
        if self.wced is not None and self.mlm is not None and self.wced.depth != self.mlm.depth:
            raise ValueError("wced.depth and mlm.depth differ, but a model tells both decoders the depth, or neither")
        columns = [head.column for head in self.label_heads]
        for column in columns:
            if columns.count(column) > 1:
                raise ValueError(f"label_heads: {column} stands there twice")
        without = {head.residual_weight is None for head in self.label_heads if head.loss == "hierarchical"}
        if len(without) > 1:
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
        """Where each loss that teaches the encoder reads, by its name: `cls`, `cls:1`, … or `mean`, all gene positions.

        The first one is where the embedding is read if `readout` does not say. MLM comes before label heads, although
        these read a CLS position: it is trained by all cells, labelled or not, and heads know what tells their labels
        apart and no more. A loss that has no weight or never begins is left out. So is a head with gradient reversal:
        its gradient does reach the encoder, but only removes what it finds.
        """
        taught = [head for head in self.label_heads if head.gradient_reversal is None]
        objectives = [
            ("wced", "cls", self.wced),
            ("contrast", cls_word(self.contrast.cls_position if self.contrast else 0), self.contrast),
            ("mlm", "mean", self.mlm),
            *((head.column, cls_word(head.cls_position), head) for head in taught),
        ]
        return {
            name: where
            for name, where, part in objectives
            if part is not None and part.weight > 0 and part.schedule.begins(self.epochs)
        }

    @property
    def depth(self) -> bool:
        """Whether decoders of expression are told how many genes the cell expresses."""
        return any(part.depth for part in (self.wced, self.mlm) if part is not None)

    @property
    def read_from(self) -> list[str]:
        """The words of `readout`, or those that follow from the losses."""
        return self.readout or [next(iter(self.losses.values()), "cls")]


class Pretraining(Section):
    """Pretraining: one model size, any number of checkpoints."""

    model: Model = Model()
    """Size of the encoder, the same for all checkpoints of a run."""
    checkpoints: dict[str, Checkpoint]
    """Name of each checkpoint and how it is trained."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Lightning's word for the arithmetic of training; `auto` is bf16-mixed on devices that are faster in
    bfloat16 (GPUs since Ampere, processors with AMX, AMD's with AVX-512 BF16), and 32-true on others."""
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
            readers = [(f"label_heads: {head.column}", head) for head in checkpoint.label_heads]
            readers += [("contrast", checkpoint.contrast)] if checkpoint.contrast else []
            for what, part in readers:
                if part.cls_position >= self.model.cls_positions:
                    raise ValueError(
                        f"checkpoints.{name}.{what} reads CLS position {part.cls_position}, but "
                        f"model.cls_positions is {self.model.cls_positions}"
                    )
            if self.model.value_encoder == "table" and checkpoint.input.values != "bins":
                raise ValueError(f"checkpoints.{name}.input.values: model.value_encoder table wants bins")
            self.check_readout(f"checkpoints.{name}.readout", name, checkpoint.read_from, checkpoint.allow_untrained)
        return self

    def check_readout(self, key: str, name: str, words: Sequence[str], allow_untrained: bool) -> None:
        """Refuse words that checkpoint `name` does not have or, unless that is allowed, that no loss trains.

        The message of the ValueError begins with `key`, the key of the config that holds the words.
        """
        checkpoint, model = self.checkpoints[name], self.model
        columns = [head.column for head in checkpoint.label_heads]
        losses = None if allow_untrained else checkpoint.losses
        try:
            check(words, losses, cls_positions=model.cls_positions, layers=model.layers, heads=columns)
        except ValueError as failure:
            raise ValueError(f"{key}: {failure}") from None
