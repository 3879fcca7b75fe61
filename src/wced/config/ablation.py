"""Config of an ablation: which checkpoints differ in what, and by which scores they are compared."""

from pydantic import Field, model_validator

from wced.config.base import Section


class Ablation(Section):
    """Checkpoints of one run that differ in stated factors and are alike otherwise."""

    checkpoints: dict[str, dict[str, str]] = Field(min_length=2)
    """Level of each factor by checkpoint, such as `mlm: {objective: MLM, ontology: without}`. Trainings that are to
    differ in nothing but their seed have that as a factor."""
    metrics: dict[str, list[str]]
    """Scores that are compared, by benchmark; each must be in `benchmarks`. The error of reconstruction always is."""
    min_nonzero: int = Field(20, ge=1)
    """Non-zero validation values that a gene needs, on a dataset and of every checkpoint, to enter the median error."""

    @model_validator(mode="after")
    def _factors(self) -> "Ablation":
        names = list(next(iter(self.checkpoints.values())))
        seen: dict[tuple[str, ...], str] = {}
        for name, levels in self.checkpoints.items():
            if not names or set(levels) != set(names):
                raise ValueError(f"checkpoints.{name}: its factors are not those of the first: {', '.join(names)}")
            place = tuple(levels[factor] for factor in names)
            if place in seen:
                raise ValueError(f"checkpoints.{name}: the same levels as {seen[place]}; make the seed a factor")
            seen[place] = name
        return self
