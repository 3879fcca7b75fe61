"""Ablation: scores of checkpoints that differ in stated factors, and what each factor does to them."""

from wced.benchmarks.task import Metric

METRICS = (
    Metric("median_rescaled_mae", "Rescaled MAE", "Median over genes; lower is better.", higher_is_better=False),
    Metric("overall_rescaled_mae", "Rescaled MAE, all", "Over all validation cells.", higher_is_better=False),
    Metric("validation_loss", "Validation loss", "Of objectives that differ, not to be compared.", ranks=False),
)
"""Metrics of reconstruction; the scores of benchmarks have their own."""
