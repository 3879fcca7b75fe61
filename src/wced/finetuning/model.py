"""A pretrained model with a new head, and which of its parameters fine-tuning trains."""

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from wced.checkpoint import Checkpoint
from wced.config.finetuning import Finetuning
from wced.config.readout import cls_word
from wced.errors import WcedError
from wced.model import WcedConfig, WcedModel
from wced.model.backbones import layers_of
from wced.ontology.cut import OntologyCut


def position_of(section: Finetuning, config: WcedConfig) -> int:
    """Return the CLS position that the new head reads: that of the section, or the first that a loss trained."""
    if section.cls_position is not None:
        return section.cls_position
    read = (config.losses or {}).values()
    return next((position for position in range(config.cls_positions) if cls_word(position) in read), 0)


def with_new_head(
    checkpoint: Checkpoint, column: str, classes: int, graph: OntologyCut | None, section: Finetuning, seed: int
) -> WcedModel:
    """Return a copy of a checkpoint's model with a fresh head, its weights sampled from `seed`, as its last one.

    A frozen encoder keeps its other heads and all decoders, as they stay true. Where the encoder changes, they go: they
    would read an embedding that they were not trained on. Only the decoder of a reconstruction stays, as it is trained
    too. A head of the same column always goes and, as a checkpoint has one ontology, so do hierarchical heads when the
    new one is hierarchical. The embedding is read where the new losses read, and of a frozen encoder where it was read
    before.

    The leaves of `graph`, None for another loss, are the outputs of a hierarchical head. WcedError is raised if the
    column is metadata that the model reads, the model has no such CLS position or decoder, or the encoder is frozen and
    nothing has trained the CLS position.
    """
    old = checkpoint.model
    config, losses = old.config, old.config.losses
    if column in [entry["column"] for entry in config.metadata]:
        raise WcedError(f"{column}: metadata that the model reads; a head would be told what it is to predict")
    position = position_of(section, config)
    if position >= config.cls_positions:
        raise WcedError(f"cls_position {position}: the model has {config.cls_positions} CLS position(s)")
    if section.reconstruction and "wced" not in config.decoders:
        raise WcedError("reconstruction: the checkpoint has no decoder of whole cells")
    frozen, where = section.mode == "frozen", cls_word(position)
    if frozen and losses is not None and where not in losses.values():
        raise WcedError(
            f"mode frozen: no loss of the checkpoint trained CLS position {position}, which the new head would read; "
            "train the encoder too (full, lora, last_layers)"
        )
    kept = [
        i for i, head in enumerate(config.label_heads)
        if frozen and head["column"] != column and (graph is None or head["loss"] != "hierarchical")
    ]  # fmt: skip
    outputs = classes if graph is None else len(graph.leaves)
    head = {"column": column, "loss": section.loss, "classes": outputs, "cls_position": position}
    heads = [*(config.label_heads[i] for i in kept), head]
    if frozen:
        gone = {entry["column"] for entry in config.label_heads} - {entry["column"] for entry in heads}
        words = [word for word in config.readout if not word.startswith(tuple(f"head:{name}" for name in gone))]
        decoders, readout = config.decoders, words or [where]
    elif section.reconstruction:
        decoders, readout = ["wced"], ["cls"]
    else:
        decoders, readout = [], [where]
    hidden_genes = config.hidden_genes and "mlm" in decoders
    changes = {"label_heads": heads, "decoders": decoders, "hidden_genes": hidden_genes, "readout": readout}
    if losses is not None:
        changes["losses"] = losses | {column: where} | ({"wced": "cls"} if section.reconstruction else {})
    torch.manual_seed(seed)
    model = WcedModel(WcedConfig.from_dict(config.to_dict() | changes))
    weights = {name: value for name, value in old.state_dict().items() if not name.startswith("label_heads.")}
    for new, i in enumerate(kept):
        weights |= {f"label_heads.{new}.{name}": value for name, value in old.label_heads[i].state_dict().items()}
    fresh = model.state_dict()
    model.load_state_dict(fresh | {name: value for name, value in weights.items() if name in fresh})
    return model


class Tuning(Callback):
    """The parameters of a model that are trained, and their values after the epoch with the smallest validation loss.

    `last_layers` leaves the norm after the last layer as it is.
    """

    def __init__(self, model: WcedModel, section: Finetuning) -> None:
        """Let only the parameters take gradients that the mode trains, those of the last head among them.

        WcedError is raised if the encoder has fewer layers than are to be trained.
        """
        self.model, self._lora = model, None
        model.requires_grad_(section.mode == "full")
        if section.mode == "last_layers":
            layers = layers_of(model.backbone, model.config.num_hidden_layers)
            if section.last_layers > len(layers):
                raise WcedError(f"last_layers {section.last_layers}: the encoder has {len(layers)} layers")
            layers[-section.last_layers :].requires_grad_(True)
        elif section.mode == "lora":
            from peft import LoraConfig, LoraModel

            linear = [name for name, layer in model.backbone.named_modules() if isinstance(layer, nn.Linear)]
            settings = LoraConfig(
                r=section.lora.rank, lora_alpha=section.lora.alpha, lora_dropout=section.lora.dropout,
                target_modules=linear,
            )  # fmt: skip
            self._lora = LoraModel(model.backbone, settings, "default")
        if section.mode != "frozen":
            model.decoders.requires_grad_(True)
        model.label_heads[-1].requires_grad_(True)
        self.loss, self.epoch, self.step = float("inf"), 0, 0
        self.best: dict[str, torch.Tensor] = {}

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """Parameters that take gradients, by name."""
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the weights if the epoch's loss is the smallest."""
        loss = float(trainer.callback_metrics["validation_loss"])
        if loss < self.loss:
            self.loss, self.epoch, self.step = loss, trainer.current_epoch + 1, trainer.global_step
            self.keep()

    def keep(self) -> None:
        """Remember the weights as they are."""
        self.best = {name: value.detach().clone() for name, value in self.trained.items()}

    @torch.no_grad()
    def finish(self) -> WcedModel:
        """Go back to the weights that were kept last, merge adapters, and return the model as an ordinary one."""
        for name, value in self.trained.items():
            value.copy_(self.best[name])
        if self._lora is not None:
            self._lora.merge_and_unload(safe_merge=True)
        return self.model.requires_grad_(True).eval()
