"""Linear models of the vectors of genes, cross-validated over genes."""

from importlib.metadata import version

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wced.benchmarks.gene_level import GeneLevel
from wced.benchmarks.job import Job, rows
from wced.benchmarks.label_scores import label_scores
from wced.contracts import are_unknown
from wced.stats import SAMPLES, Score, bootstrap_weights, hanley_mcneil, missing, percentiles

NO_FAMILY = "Unclassified"
"""Family of a gene of no functional family."""
ALPHAS = np.logspace(0, 6, 13)
"""Penalties that ridge chooses among by its leave-one-out error on the training genes."""


def score(job: Job) -> pd.DataFrame:
    """Score the vectors of genes by one model; every model is scored on the same genes.

    Vectors are standardised by the training genes of each fold, and every gene is predicted once. The tasks are the
    gene-level ones of "Biology-driven insights into the power of single-cell foundation models" (Genome Biology 2025),
    tissue specificity and function, with functional families and expression programs for Gene Ontology terms.

    The job's embedding is what `wced.embedding.gene_vectors.write_all` wrote: genes × dimensions with obs columns
    `train_cells`, `family`, `program` and the two taus.
    """
    section: GeneLevel = job.section
    x_gd, genes, folds = np.asarray(job.embedding.X, np.float64), job.embedding.obs, section.folds
    seen = (genes["train_cells"] >= section.min_cells).to_numpy()
    scores = {}
    for metric, column in (("r2_tissue", "tissue_specificity_tau"), ("r2_cell_type", "cell_type_specificity_tau")):
        chosen = seen & genes[column].notna().to_numpy()
        scores[metric] = _r2(x_gd[chosen], genes[column].to_numpy(float)[chosen], folds, job.seed)

    family = genes["family"].astype(str)
    size = family[seen & (family != NO_FAMILY).to_numpy() & ~are_unknown(family)].value_counts()
    chosen = seen & family.isin(size.index[size >= section.min_family]).to_numpy()
    true_g = family.to_numpy(str)[chosen]
    if reason := _too_few(true_g, folds):
        scores |= dict.fromkeys(("macro_f1_family", "accuracy_family"), missing(reason))
    else:
        probability_gc = _probabilities(x_gd[chosen], true_g, folds, job.seed)
        predicted_g = np.unique(true_g)[probability_gc.argmax(axis=1)]
        labels = label_scores(true_g, {"family": predicted_g}, job.seed)
        scores |= {name: labels[name] for name in ("macro_f1_family", "accuracy_family")}

    chosen = seen & ~are_unknown(genes["program"])
    program_g = np.where(genes["program"].astype(str)[chosen] == "identity", "identity", "other")
    if reason := _too_few(program_g, folds):
        scores["auc_identity"] = missing(reason)
    else:
        probability_gc = _probabilities(x_gd[chosen], program_g, folds, job.seed)
        scores["auc_identity"] = _auc(program_g == "identity", probability_gc[:, 0])
    models = f"scikit-learn {version('scikit-learn')} RidgeCV and LogisticRegression (C = 0.01)"
    split = (
        f"{folds} folds of genes that {section.min_cells} training cells or more express "
        f"({seen.sum()} of {len(seen)}) and that are annotated; families of {section.min_family} such genes or more"
    )
    protocol, n = f"{models} of standardised vectors", int(seen.sum())
    return rows(job, "gene_level", scores, protocol=protocol, split=split, n=n, label="gene annotation")


def _too_few(label_g: np.ndarray, folds: int) -> str:
    """Return why labels cannot be cross-validated; empty where they can."""
    labels, size = np.unique(label_g, return_counts=True)
    if len(labels) < 2:
        return f"{len(labels)} classes of genes"
    return f"a class has {size.min()} genes, fewer than there are folds" if size.min() < folds else ""


def _probabilities(x_gd: np.ndarray, label_g: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the probability of each class (sorted) for each gene, by a model that has not seen the gene."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return cross_val_predict(model, x_gd, label_g, cv=split, method="predict_proba")


def _r2(x_gd: np.ndarray, y_g: np.ndarray, folds: int, seed: int) -> Score:
    """Return R² of ridge over all held-out genes, with an interval by resampling genes."""
    n = len(y_g)
    if n < 2 * folds or np.ptp(y_g) == 0:
        return missing(f"{n} genes with {len(np.unique(y_g))} values")
    model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    predicted_g = cross_val_predict(model, x_gd, y_g, cv=KFold(folds, shuffle=True, random_state=seed))
    parts_g3 = np.stack([(y_g - predicted_g) ** 2, y_g, y_g**2], axis=1)
    sampled = [weight_g @ parts_g3 for weight_g in bootstrap_weights(n, seed, SAMPLES)]
    sums_b3 = np.stack([parts_g3.sum(axis=0), *sampled])
    r2_b = 1 - sums_b3[:, 0] / (sums_b3[:, 2] - sums_b3[:, 1] ** 2 / n)
    return percentiles(r2_b[0], r2_b[1:], "genes", n)


def _auc(positive_g: np.ndarray, value_g: np.ndarray) -> Score:
    """Return the area under the ROC curve."""
    return hanley_mcneil(float(roc_auc_score(positive_g, value_g)), int(positive_g.sum()), int((~positive_g).sum()))
