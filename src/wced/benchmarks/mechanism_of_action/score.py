"""A classifier of mechanisms, cross-validated over whole drugs, and AvgBio of the mechanisms."""

from importlib.metadata import version

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wced.benchmarks import scib
from wced.benchmarks.job import Job, counted_warnings, rows
from wced.benchmarks.mechanism_of_action import MechanismOfAction
from wced.benchmarks.mechanism_of_action.figures import confusion_figure
from wced.benchmarks.neighbours import connectivities, leiden, nearest
from wced.contracts import are_unknown
from wced.errors import WcedError
from wced.progress import progress
from wced.stats import Score, bootstrap_weights, missing, standard_errors

PROBE = ("auc", "recall", "f1")
"""What the classifier is scored by, for all classes and for each (`auc:CLASS`)."""
STEPS = 1000
"""Most steps of the logistic regression's solver."""


def score(job: Job) -> pd.DataFrame:
    """Score one embedding by the protocol of the paper's section 4.5.

    Cells of low viability at one dose are kept, controls and small classes left out. A logistic regression (features of
    unit variance) learns the class from cells of some drugs and predicts it for the cells of others. AUC is that of one
    class against the rest; without suffix a metric is the mean over classes, `auc:CLASS` is one class. Values are means
    over all folds of all repeats. A class that cannot be held out has rows that say why.
    AvgBio = (NMI + ARI + ASW) / 3 of the classes among the same cells.

    Folds of repeated cross-validation share their cells, so the interval takes the corrected variance of Nadeau and
    Bengio (2003, Machine Learning 52:239-281), (1/J + test cells / training cells) · s² over J folds, with t of J − 1.

    Raises WcedError if obs lacks a column that the section names or has text for numbers there, or a drug has several
    classes.
    """
    section: MechanismOfAction = job.section
    obs = job.embedding.obs
    try:
        kept_n, left_out = responding(obs, section)
        drug_n, class_n = (obs[name].astype(str).to_numpy() for name in (section.drug_column, section.class_column))
        reasons = too_small(drug_n[kept_n], class_n[kept_n], section)
    except WcedError as error:
        raise WcedError(f"dataset {job.dataset}: {error}") from None
    scored_n = kept_n & ~np.isin(class_n, list(reasons))
    x_nd, drug_n, class_n = np.asarray(job.embedding.X, np.float32)[scored_n], drug_n[scored_n], class_n[scored_n]
    classes = np.unique(class_n)
    if len(classes) < 2:
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or "there is none besides"
        scores = dict.fromkeys((*PROBE, *scib.BIO, "avg_bio"), missing(f"fewer than two classes are left ({why})"))
        scores |= {f"{metric}:{name}": missing("there is no other class") for name in classes for metric in PROBE}
    else:
        folds = drug_folds(drug_n, class_n, folds=section.folds, repeats=section.repeats, seed=job.seed)
        scores, confusion_cc = probe(x_nd, drug_n, class_n, folds, job.seed)
        scores |= _conserved(x_nd, class_n, section, job.seed)
        if job.figures is not None:
            confusion_figure(job, classes, confusion_cc)
            folds.to_csv(job.figures / "held_out_drugs.tsv", sep="\t", index=False)
    scores |= {f"{metric}:{name}": missing(reason) for name, reason in reasons.items() for metric in PROBE}
    protocol = (
        f"scikit-learn {version('scikit-learn')} logistic regression (features of unit variance, L2, C 1, at most "
        f"{STEPS} steps); whole drugs held out, {section.folds} folds stratified by class, {section.repeats} "
        f"repeats; AvgBio by scib-metrics {version('scib-metrics')}: "
        f"{scib.clustering_words(range(job.seed, job.seed + section.cluster_seeds))}; exact graph of "
        f"{section.neighbours} neighbours"
    )
    small = f"{(kept_n & ~scored_n).sum()} of {len(reasons)} small classes"
    split = f"{len(np.unique(drug_n))} drugs of {len(classes)} classes; {left_out}, {small}"
    label = section.class_column
    return rows(job, "mechanism_of_action", scores, protocol=protocol, split=split, n=len(x_nd), label=label)


def responding(obs: pd.DataFrame, section: MechanismOfAction) -> tuple[np.ndarray, str]:
    """Return which cells were treated and responded, bool, (cells,), and in words which were left out.

    Raises WcedError if a column is missing or not of numbers.
    """
    columns = (section.drug_column, section.class_column, section.dose_column, section.viability_column)
    for name in filter(None, columns):
        if name not in obs:
            raise WcedError(f"obs has no column {name}; columns beside CELLxGENE's come by extra_obs of its row")
    drug_n = obs[section.drug_column].astype(str).to_numpy()
    labelled_n = ~are_unknown(obs[section.drug_column]) & ~are_unknown(obs[section.class_column])
    control_n = np.isin(drug_n, section.controls) | obs[section.class_column].isin(section.controls).to_numpy()
    treated_n = labelled_n & ~control_n
    dosed_n, responds_n, rule = np.ones(len(obs), bool), np.ones(len(obs), bool), []
    if section.dose_column is not None:
        dosed_n = np.isclose(_numbers(obs, section.dose_column), section.dose)
        rule.append(f"dose {section.dose:g}")
    if section.viability_column is not None:
        viability_n = _numbers(obs, section.viability_column)
        responds_n = viability_n < section.max_viability
        rule.append(f"viability below {section.max_viability:g}")
        if section.keep == "drugs":
            mean = pd.Series(viability_n[dosed_n]).groupby(drug_n[dosed_n]).mean()
            responds_n = np.isin(drug_n, mean.index[mean < section.max_viability].to_numpy(str))
            dosed_n = np.ones(len(obs), bool)
            rule = [f"drugs of a mean {' at '.join(reversed(rule))}"]
    kept_n = treated_n & dosed_n & responds_n
    left_out = f"left out: {(~labelled_n).sum()} cells without a drug or class"
    left_out += f", {(labelled_n & control_n).sum()} of controls"
    if rule:
        left_out += f", {(treated_n & ~kept_n).sum()} by the rule `{' and '.join(rule)}`"
    return kept_n, left_out


def _numbers(obs: pd.DataFrame, column: str) -> np.ndarray:
    try:
        return pd.to_numeric(obs[column].astype(str).replace("unknown", "nan")).to_numpy(np.float64)
    except ValueError as failure:
        raise WcedError(f"obs column {column}: {failure}") from None


def class_of_drug(drug_n: np.ndarray, class_n: np.ndarray) -> pd.Series:
    """Return the class of each drug, sorted by drug; raise WcedError if a drug has several.

    The classifier would be trained on what it is tested on.
    """
    pairs = pd.DataFrame({"drug": drug_n, "class": class_n}).drop_duplicates().sort_values(["drug", "class"])
    repeated = pairs["drug"].duplicated()
    if repeated.any():
        drug = pairs["drug"][repeated].iloc[0]
        classes = " and ".join(pairs["class"][pairs["drug"] == drug].iloc[:2])
        raise WcedError(f"drug {drug} has cells of the classes {classes}; a drug has one class")
    return pairs.set_index("drug")["class"]


def too_small(drug_n: np.ndarray, class_n: np.ndarray, section: MechanismOfAction) -> dict[str, str]:
    """Return the classes that cannot be scored, sorted, with the reason; raise WcedError as `class_of_drug` does."""
    drugs, cells = class_of_drug(drug_n, class_n).value_counts(), pd.Series(class_n).value_counts()
    reasons = {}
    for name in sorted(cells.index):
        if drugs[name] < section.folds:
            count = "one drug only" if drugs[name] == 1 else f"{drugs[name]} drugs"
            reasons[name] = f"{count}; {section.folds} are needed to hold one out in each fold"
        elif cells[name] < section.min_class_size:
            reasons[name] = f"{cells[name]} cells, fewer than {section.min_class_size}"
    return reasons


def drug_folds(drug_n: np.ndarray, class_n: np.ndarray, *, folds: int, repeats: int, seed: int) -> pd.DataFrame:
    """Return which drugs each fold of each repeat holds out: `repeat`, `fold`, `class` and `drug`, sorted.

    In each repeat the drugs of every class, at least as many as folds, are shuffled and dealt to the folds in turn,
    from a random fold on (paper, section 4.5: stratified 2-fold, repeated 5 times, whole drugs held out). So each fold
    holds at least one whole drug of each class out and trains on at least one other, each drug is held out once a
    repeat, and the folds' numbers of drugs of a class differ by one at most.

    Raises WcedError if a drug has several classes.
    """
    of_drug = class_of_drug(drug_n, class_n)
    rng, tables = np.random.default_rng(seed), []
    for repeat in range(repeats):
        fold_of_drug = np.empty(len(of_drug), np.int64)
        for name in sorted(of_drug.unique()):
            members = np.flatnonzero(of_drug == name)
            fold_of_drug[rng.permutation(members)] = (np.arange(len(members)) + rng.integers(folds)) % folds
        tables.append(pd.DataFrame({"repeat": repeat, "fold": fold_of_drug, "class": of_drug, "drug": of_drug.index}))
    return pd.concat(tables, ignore_index=True).sort_values(["repeat", "fold", "class", "drug"], ignore_index=True)


def probe(
    x_nd: np.ndarray, drug_n: np.ndarray, class_n: np.ndarray, folds: pd.DataFrame, seed: int
) -> tuple[dict[str, Score], np.ndarray]:
    """Train a logistic regression on each fold's training drugs and judge it on those held out.

    There are at least two classes; `folds` is what `drug_folds` returned for the same cells. Returned are the mean over
    folds of each of `PROBE`, for all classes (`auc`) and for each (`auc:CLASS`), and the share of a class' held-out
    cells that are predicted as each class, true × predicted, over all folds.
    """
    classes, held_out = np.unique(class_n), [drugs for _, drugs in folds.groupby(["repeat", "fold"])["drug"]]
    value_fmc, counts_cc, ratio_f = [], np.zeros((len(classes),) * 2), []
    with counted_warnings():
        for drugs in progress(held_out, "mechanisms", unit="folds"):
            test_n = np.isin(drug_n, drugs)
            true_n = class_n[test_n]
            classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=STEPS, random_state=seed))
            probability_nc = classifier.fit(x_nd[~test_n], class_n[~test_n]).predict_proba(x_nd[test_n])
            predicted_n = classes[probability_nc.argmax(axis=1)]
            auc_c = [roc_auc_score(true_n == name, probability_nc[:, c]) for c, name in enumerate(classes)]
            options = {"labels": classes, "average": None, "zero_division": 0}
            recall_c, f1_c = (metric(true_n, predicted_n, **options) for metric in (recall_score, f1_score))
            value_fmc.append([auc_c, recall_c, f1_c])
            counts_cc += confusion_matrix(true_n, predicted_n, labels=classes)
            ratio_f.append(test_n.sum() / (~test_n).sum())
    scores = {}
    for m, metric in enumerate(PROBE):
        value_fc = np.array(value_fmc)[:, m]
        scores[metric] = _over_folds(value_fc.mean(axis=1), np.mean(ratio_f), len(class_n))
        for c, name in enumerate(classes):
            scores[f"{metric}:{name}"] = _over_folds(value_fc[:, c], np.mean(ratio_f), int((class_n == name).sum()))
    return scores, counts_cc / counts_cc.sum(axis=1, keepdims=True)


def _over_folds(value_f: np.ndarray, test_over_train: float, n: int) -> Score:
    """Return the mean of folds with the corrected interval that `score` describes."""
    folds = len(value_f)
    error = np.sqrt((1 / folds + test_over_train) * value_f.var(ddof=1))
    method = f"corrected t over {folds} folds (Nadeau and Bengio 2003), cut to 0 to 1"
    return standard_errors(float(value_f.mean()), error, method, freedom=folds - 1, bounds=(0.0, 1.0), n=n)


def _conserved(x_nd: np.ndarray, class_n: np.ndarray, section: MechanismOfAction, seed: int) -> dict[str, Score]:
    """Return AvgBio of the classes and its parts."""
    if len(x_nd) <= section.neighbours:
        too_few = missing(f"{len(x_nd)} cells are too few for {section.neighbours} neighbours")
        return dict.fromkeys((*scib.BIO, "avg_bio"), too_few)
    seeds = range(seed, seed + section.cluster_seeds)
    clusters_crn = leiden(connectivities(*nearest(x_nd, section.neighbours - 1)), seeds)
    parts = scib.bio(x_nd, class_n, clusters_crn, bootstrap_weights(len(x_nd), seed))
    parts["avg_bio"] = scib.mean(parts, scib.BIO)
    return {name: part.score for name, part in parts.items()}
