"""Fine-tuned annotation: what a checkpoint learns of a part of the cells, judged by batches or donors it never saw."""

from pydantic import Field, model_validator

from wced.benchmarks.probe import CLASSIFIERS
from wced.benchmarks.task import Metric, Task
from wced.config.finetuning import Finetuning, HeldOut


class FinetunedAnnotation(Task):
    """Annotation by fine-tuned checkpoints, beside probes of the frozen embedding on the same cells."""

    needs = ("checkpoint", "source")
    checkpoints_only = True
    mem_mb = 8000

    datasets: list[str]
    """Datasets with the labels."""
    column: str = "cell_type_ontology_term_id"
    """Column of obs with the labels."""
    held_out: HeldOut = HeldOut(by="group", column="batch", validation=0.1, test=0.25)
    """Cells that fine-tuning stops by, and cells that it is judged by. By group: whole batches or donors, such that
    train keeps every class. By column: whatever the dataset's publishers chose, also another disease or types that
    train lacks; those are counted, and scored apart."""
    held_out_of: dict[str, HeldOut] = {}
    """The same for single datasets."""
    min_class_size: int = Field(10, ge=1)
    """Classes with fewer labelled cells are left out, and their cells counted."""
    modes: list[Finetuning] = Field([Finetuning(epochs=5)], min_length=1)
    """What is trained, and how: each mode once. `held_out` and `min_class_size` of the task go for all of them."""

    @model_validator(mode="after")
    def _one_split(self) -> "FinetunedAnnotation":
        names = [tuning.mode for tuning in self.modes]
        for name, tuning in zip(names, self.modes, strict=True):
            if names.count(name) > 1:
                raise ValueError(f"modes: {name} is duplicated; list each mode once")
            if (tuning.held_out, tuning.min_class_size) != (HeldOut(), Finetuning().min_class_size):
                raise ValueError(f"modes: {name} has held_out or min_class_size; set these once, for all modes")
        for name, held_out in [("held_out", self.held_out), *self.held_out_of.items()]:
            if held_out.by != "column" and not held_out.test:
                raise ValueError(f"{name}: there are no test cells to judge by; test must be above 0")
        return self

    def tuning(self, mode: Finetuning, dataset: str) -> Finetuning:
        """Return how a mode is trained on a dataset."""
        split = {"held_out": self.held_out_of.get(dataset, self.held_out), "min_class_size": self.min_class_size}
        return mode.model_copy(update=split)


PROBES = {f"probe_{name}": f"{title} probe" for name, title in CLASSIFIERS.items()}
"""Probes of the frozen embedding, and their titles."""
MODES = {"full": "fine-tuned", "lora": "LoRA", "last_layers": "last layers", "frozen": "new head", **PROBES}
"""Short names of the ways to predict: the modes of fine-tuning, and the probes."""
REFERENCE = "probe_sgd"
"""The probe that fine-tuning is compared with, as in the paper's Figure 5."""
_TITLES = {"weighted_f1": "Weighted F1", "macro_f1": "F1", "gain_weighted_f1": "Gain", "accuracy": "Acc."}
_TITLES |= {"lcad_errors": "LCAD"}
_MEANING = {
    f"weighted_f1_{REFERENCE}": "Gain: weighted F1 of fine-tuning minus that of the SGD probe on the same cells.",
    f"lcad_errors_{REFERENCE}": "LCAD: steps in the Cell Ontology from a wrong cell's true to its predicted type.",
}
SECTION = FinetunedAnnotation
TITLE = "Fine-tuned annotation"
METRICS = tuple(
    Metric(
        f"{metric}_{mode}",
        f"{title}, {name}",
        _MEANING.get(f"{metric}_{mode}", ""),
        headline=(metric, mode) == ("weighted_f1", "full"),
        higher_is_better=metric != "lcad_errors",
    )
    for metric, title in _TITLES.items()
    for mode, name in MODES.items()
    if metric != "gain_weighted_f1" or mode not in PROBES
)
