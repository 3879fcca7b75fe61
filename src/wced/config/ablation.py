"""Config of an ablation: which checkpoints differ in what, and by which scores they are compared."""

from pydantic import Field, model_validator

from wced.config.base import Count, Section


class Ablation(Section):
    """Comparison of checkpoints of one run that differ in the listed factors only."""

    checkpoints: dict[str, dict[str, str]] = Field(min_length=2)
    """Level of each factor, by checkpoint, such as `mlm: {objective: MLM, ontology: without}`. Trainings that differ
    only in their seed need the seed as a factor."""
    metrics: dict[str, list[str]]
    """Scores to compare, by benchmark; each must be in `benchmarks`. The reconstruction error is always compared."""
    min_nonzero: Count = 20
    """Non-zero validation values that a gene needs, in a dataset and every checkpoint, to count in the median error."""

    @model_validator(mode="after")
    def _check_factors(self) -> "Ablation":
        factors = list(next(iter(self.checkpoints.values())))
        seen: dict[tuple[str, ...], str] = {}
        for name, levels in self.checkpoints.items():
            if not factors or set(levels) != set(factors):
                raise ValueError(f"checkpoints.{name}: its factors are not those of the first: {', '.join(factors)}")
            same = seen.setdefault(tuple(levels[factor] for factor in factors), name)
            if same != name:
                raise ValueError(f"checkpoints.{name}: the same levels as {same}; make the seed a factor")
        return self
