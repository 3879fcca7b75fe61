"""Gene-level tasks: how far specificity and function of genes can be read from their vectors by linear models."""

from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
import pandas as pd
from anndata import AnnData

from wced.benchmarks.job import Metric
from wced.benchmarks.label_scores import LabelScores
from wced.benchmarks.scores import UNKNOWN, rows
from wced.config.benchmarks.gene_level import GeneLevel
from wced.stats import SAMPLES, Score, bootstrap_weights, hanley_mcneil, missing, percentiles

TITLE = "What vectors of genes say of the genes"
METRICS = (
    Metric("r2_tissue", "Tissue specificity", "R² of tau over tissues (Human Protein Atlas) by ridge.", headline=True),
    Metric("r2_cell_type", "Cell-type specificity", "R² of tau over cell types by ridge."),
    Metric("macro_f1_family", "Family, F1", "Functional families by logistic regression, mean over families."),
    Metric("accuracy_family", "Family, acc."),
    Metric("auc_identity", "Identity, AUC", "Genes of a cell type's identity against all others, logistic regression."),
)
NO_FAMILY = ("Unclassified", *UNKNOWN)
"""What a gene of no functional family is called."""
ALPHAS = np.logspace(0, 6, 13)
"""Penalties that ridge chooses among by its leave-one-out error on the training genes."""


def score(embedding: AnnData, section: GeneLevel, *, run: str, seed: int) -> pd.DataFrame:
    """Score the vectors of genes by one model.

    Vectors are standardised by the training genes of each fold, and every gene is predicted once. The tasks are the
    gene-level ones of "Biology-driven insights into the power of single-cell foundation models" (Genome Biology 2025),
    tissue specificity and function, with functional families and expression programs for Gene Ontology terms.

    Parameters
    ----------
    embedding
        What `wced.embedding.gene_vectors.write_all` wrote: genes × dimensions with obs columns `train_cells`,
        `family`, `program` and the two taus.
    section
        Config of the task.
    run, seed
        Name of the run; seed of folds and bootstrap.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES, the same genes for every model; `n` counts them.
    """
    genes = embedding.obs
    seen = (genes["train_cells"] >= section.min_cells).to_numpy()
    return rows(
        embedding,
        dict(_scores(np.asarray(embedding.X, np.float64), genes, seen, section, seed)),
        run=run,
        task="gene_level",
        protocol=(
            f"scikit-learn {version('scikit-learn')} RidgeCV and LogisticRegression (C = 0.01) of standardised vectors"
        ),
        split=(
            f"{section.folds} folds of genes that {section.min_cells} training cells or more express "
            f"({seen.sum()} of {len(seen)}) and that are annotated; families of {section.min_family} such genes or more"
        ),
        n=int(seen.sum()),
        seed=seed,
        label="gene annotation",
    )


def _scores(
    x_gd: np.ndarray, genes: pd.DataFrame, seen: np.ndarray, section: GeneLevel, seed: int
) -> Iterator[tuple[str, Score]]:
    for metric, column in (("r2_tissue", "tissue_specificity_tau"), ("r2_cell_type", "cell_type_specificity_tau")):
        chosen = seen & genes[column].notna().to_numpy()
        yield metric, _r2(x_gd[chosen], genes[column].to_numpy(float)[chosen], section.folds, seed)

    family = genes["family"].astype(str)
    size = family[seen & ~family.isin(NO_FAMILY).to_numpy()].value_counts()
    chosen = seen & family.isin(size.index[size >= section.min_family]).to_numpy()
    true_g = family.to_numpy(str)[chosen]
    reason = _too_few(true_g, section.folds)
    if reason:
        yield from ((f"{metric}_family", missing(reason)) for metric in ("macro_f1", "accuracy"))
    else:
        scores = LabelScores(true_g, {"family": _classified(x_gd[chosen], true_g, section.folds, seed)[0]}, seed)
        yield "macro_f1_family", scores.f1("family", "macro")
        yield "accuracy_family", scores.accuracy("family")

    program = genes["program"].astype(str)
    chosen = seen & ~program.isin(UNKNOWN).to_numpy()
    identity_g = np.where(program.to_numpy(str)[chosen] == "identity", "identity", "other")
    reason = _too_few(identity_g, section.folds)
    if reason:
        yield "auc_identity", missing(reason)
    else:
        probability_g = _classified(x_gd[chosen], identity_g, section.folds, seed)[1]
        yield "auc_identity", _auc(identity_g == "identity", probability_g)


def _too_few(label_g: np.ndarray, folds: int) -> str:
    """Return why labels can not be cross-validated; empty where they can."""
    labels, size = np.unique(label_g, return_counts=True)
    if len(labels) < 2:
        return f"{len(labels)} classes of genes"
    return f"a class has {size.min()} genes, fewer than there are folds" if size.min() < folds else ""


def _classified(x_gd: np.ndarray, label_g: np.ndarray, folds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of each gene by a model that has not seen it, and the probability of the first class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    probability_gc = cross_val_predict(model, x_gd, label_g, cv=split, method="predict_proba")
    return np.unique(label_g)[probability_gc.argmax(axis=1)], probability_gc[:, 0]


def _r2(x_gd: np.ndarray, y_g: np.ndarray, folds: int, seed: int) -> Score:
    """Return R² of ridge over all held-out genes, with an interval by resampling genes."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(y_g) < 2 * folds or np.ptp(y_g) == 0:
        return missing(f"{len(y_g)} genes with {len(np.unique(y_g))} values")
    model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    predicted_g = cross_val_predict(model, x_gd, y_g, cv=KFold(folds, shuffle=True, random_state=seed))
    parts_g3 = np.stack([(y_g - predicted_g) ** 2, y_g, y_g**2], axis=1)
    n = len(y_g)
    sampled = [weight_g @ parts_g3 for weight_g in bootstrap_weights(n, seed, SAMPLES)]
    sums_b3 = np.stack([parts_g3.sum(axis=0), *sampled])
    r2_b = 1 - sums_b3[:, 0] / (sums_b3[:, 2] - sums_b3[:, 1] ** 2 / n)
    return percentiles(r2_b[0], r2_b[1:], "genes", n)


def _auc(positive_g: np.ndarray, value_g: np.ndarray) -> Score:
    """Return the area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return hanley_mcneil(float(roc_auc_score(positive_g, value_g)), int(positive_g.sum()), int((~positive_g).sum()))
