"""Figures of zero-shot annotation (paper's Figure 3): flows of labels, probable nodes, greedy decoding, and more."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from wced.benchmarks import matches
from wced.benchmarks.job import Job
from wced.benchmarks.zero_shot_annotation.predictions import Predictions
from wced.contracts import is_unknown
from wced.errors import WcedError
from wced.figures import GREEN, INDIGO, PURPLE, ROSE, layers, save_figure, styled
from wced.figures import OTHER as GREY
from wced.figures.charts import intervals, legend, name_rows, panels
from wced.figures.flow import by_source, sankey
from wced.ontology import CellOntology
from wced.stats import Score

COLOURS = {"exact": GREEN, "descendant": INDIGO, "ancestor": PURPLE, "miss": ROSE, "other": GREY}
"""Colour of each kind of prediction; `other` is for what is pooled or cannot be judged."""
MEANING = {kind: kind for kind in COLOURS} | {"descendant": "finer (a descendant)", "ancestor": "coarser (an ancestor)"}
OTHER = "other labels"


@styled
def write_figures(predictions: Predictions, scores: Mapping[str, Score], job: Job) -> None:
    """Write the figures of a model on a dataset into the job's folder.

    At least one cell has a truth. Without probabilities of the leaves there are no figures of them. `scores` are those
    of the task, by metric.
    """
    _flow(predictions, job)
    _labels(predictions, job)
    _depths(scores, job)
    if predictions.leaf_probability_nl is not None:
        _nodes(predictions, job)
        _descent(predictions, job)


def _flow(predictions: Predictions, job: Job) -> None:
    """Plot which labels became which: the most frequent ones on either side, the rest as one."""
    most, names, scored_n = job.section.flow_labels, _names(predictions), predictions.scored_n
    pairs = matches.pairs(predictions.true_n[scored_n], predictions.leaf_n[scored_n], predictions.ontology)
    flows = pairs.assign(step=0, source=pairs["true"], target=pairs["predicted"])
    for side in ("source", "target"):
        cells = flows.groupby(side)["cells"].sum().sort_values(ascending=False, kind="stable")
        flows[side] = flows[side].where(flows[side].isin(cells.index[:most]), OTHER)
    flows["kind"] = flows["kind"].mask(flows[["source", "target"]].eq(OTHER).any(axis=1), "other")
    first = flows.groupby("source")["cells"].sum().sort_values(ascending=False, kind="stable").index
    flows = flows.groupby(["step", "source", "target", "kind"], as_index=False)["cells"].sum()
    orders = _orders(flows, sorted(first, key=lambda node: node == OTHER))
    figure, (axis,) = panels(1, 8, 0.28 * max(map(len, orders)) + 2.2)
    sankey(axis, flows, orders, colours=COLOURS, names=names, wrap=44, sides=("left", "right"))
    axis.set_title("true label → most probable leaf")
    _legend(figure, flows["kind"])
    caption = (
        f"Left: true labels of {pairs['cells'].sum():,} cells; right: the most probable leaf of the ontology head; "
        f"the {most} most frequent of each, the rest as one (grey)."
    )
    data = flows.assign(source=flows["source"].map(names), target=flows["target"].map(names)).drop(columns="step")
    _save(job, "label_flow", figure, "Flow of true to predicted cell types", caption, data)


def label_table(predictions: Predictions) -> pd.DataFrame:
    """Return how the cells of each label are predicted, one row per label, the most frequent first.

    Columns are `label`, `term` (the current one; empty for labels that cannot be scored), `name`, `cells`, `mapping`
    (where the model's ontology has it), the shares of `matches.KINDS` and the most frequent prediction,
    `most_predicted`.
    """
    ontology, names, table = predictions.ontology, _names(predictions), []
    for label, cells in pd.Series(predictions.label_n).value_counts().sort_index().items():
        here = predictions.label_n == label
        term = predictions.true_n[here][0]
        row = {"label": label, "term": term or "", "name": names.get(term, label), "cells": cells}
        if term is None:
            row["mapping"] = "no label" if is_unknown(label) else "not in the Cell Ontology"
        else:
            row["mapping"] = _mapping(term, predictions.leaves, ontology)
            pairs = matches.pairs(predictions.true_n[here], predictions.leaf_n[here], ontology)
            shares = pairs.groupby("kind")["cells"].sum() / cells
            row |= {kind: shares.get(kind, 0.0) for kind in matches.KINDS}
            row["most_predicted"] = names[pairs.loc[pairs["cells"].idxmax(), "predicted"]]
        table.append(row)
    columns = ["label", "term", "name", "cells", "mapping", *matches.KINDS, "most_predicted"]
    return pd.DataFrame(table, columns=columns).sort_values("cells", ascending=False, kind="stable", ignore_index=True)


def _mapping(term: str, leaves: set[str], ontology: CellOntology) -> str:
    """Return where the ontology of a model has a term."""
    if term in leaves:
        return "a leaf of the model"
    if leaves & ontology.descendants(term):
        return "above leaves of the model: finer labels only"
    return "below a leaf of the model: coarser labels only" if leaves & ontology.ancestors(term) else "out of reach"


def _labels(predictions: Predictions, job: Job) -> None:
    """Plot how each label's cells were predicted, and list the labels that cannot be scored."""
    table = label_table(predictions)
    shown, lost = table[table["term"] != ""], table[table["term"] == ""]
    figure, (axis,) = panels(1, 8, 0.2 * len(shown) + 1.2)
    left = np.zeros(len(shown))
    for kind in matches.KINDS:
        axis.barh(range(len(shown)), shown[kind], left=left, color=COLOURS[kind], alpha=0.8)
        left += shown[kind].to_numpy(dtype=float)
    marks = shown["mapping"].str.partition(" ")[0].map({"a": "", "above": " ▲", "below": " ▼", "out": " ✕"})
    name_rows(axis, shown["name"] + " (" + shown["cells"].map("{:,}".format) + ")" + marks, fontsize=7)
    axis.set(xlim=(0, 1), xlabel="share of the label's cells")
    _legend(figure, matches.KINDS)
    listed = ", ".join(f"{row.label} ({row.cells:,}: {row.mapping})" for row in lost.itertuples())
    caption = (
        f"Shares of each label's cells (numbers of cells in brackets) whose most probable leaf is the label, "
        f"finer, coarser, or none of these. ▲: the model knows only finer labels, so that none can be exact; ▼: "
        f"only coarser ones; ✕: neither. Labels that cannot be mapped to the Cell Ontology: {listed or 'none'}."
    )
    _save(job, "labels", figure, "What the cells of each label were called", caption, table)


def _depths(scores: Mapping[str, Score], job: Job) -> None:
    """Plot the accuracy at every depth, by the most probable leaf and by greedy decoding."""
    decodings = {"accuracy": "most probable leaf", "greedy": "greedy"}
    rows = []
    for metric, score in scores.items():
        name, _, depth = metric.partition("_depth_")
        if depth:
            rows.append((decodings[name], int(depth), score.value, score.ci_low, score.ci_high, score.n))
    table = pd.DataFrame(rows, columns=["decoding", "depth", "value", "ci_low", "ci_high", "cells"])
    figure, (axis,) = panels(1, 6.5, 3.2)
    for decoding, colour, shift in zip(decodings.values(), (INDIGO, ROSE), (-0.06, 0.06), strict=True):
        part = table[table["decoding"] == decoding]
        axis.plot(part["depth"] + shift, part["value"], color=colour, lw=1, label=decoding if len(part) else None)
        intervals(axis, part, part["depth"] + shift, colour, upright=True, s=25)
    cells = table.drop_duplicates("depth")
    axis.set_xticks(cells["depth"], cells["depth"].astype(str) + "\n" + cells["cells"].map("{:,}".format))
    axis.set_xlabel("depth in the Cell Ontology, and cells whose true type is so deep")
    axis.set(ylabel="share right at this depth", ylim=(0, 1.03))
    axis.legend()
    caption = (
        "True and predicted type rolled up to their ancestors at each depth (longest is_a path from the root); "
        "right are cells where these have a term in common. Cells whose true type is less deep are left out (the "
        "second line of the axis counts the others). Bars: Wilson's 95% intervals."
    )
    data = table.rename(columns={"value": "accuracy"})
    _save(job, "depths", figure, "Accuracy at every depth of the ontology", caption, data)


def _nodes(predictions: Predictions, job: Job) -> None:
    """Plot the mean probabilities of the ontology's nodes for the cells of one label."""
    term = _chosen(predictions, job)
    cells = np.flatnonzero(predictions.true_n == term)
    cut = predictions.cut
    mean_t = cut.roll_up(predictions.leaf_probability_nl[cells]).mean(axis=0)
    name, least = _names(predictions)[term], job.section.graph_min_probability
    # A parent has at least the probability of its child, so that what is kept holds all its ancestors.
    kept = sorted(np.flatnonzero(mean_t > least), key=lambda t: (cut.ancestors_tt[t].sum(), cut.terms[t]))
    index = {t: i for i, t in enumerate(kept)}
    nodes = pd.DataFrame(
        {
            "term": [cut.terms[t] for t in kept],
            "name": [cut.labels[t] for t in kept],
            "probability": mean_t[kept],
            "kind": [
                matches.kind(term, predictions.ontology.current(cut.terms[t]), predictions.ontology) for t in kept
            ],
            "leaf": np.isin(kept, cut.leaves),
        }
    )
    figure, (axis,) = panels(1, 1, 1)
    layers.draw(axis, nodes, [[index[parent] for parent in cut.parents[t]] for t in kept], COLOURS)
    _legend(figure, nodes["kind"])
    caption = (
        f"Nodes of the Cell Ontology with a mean probability above {least:g} for the {len(cells):,} cells whose "
        f"true label is {name}. The model predicts the leaves (bold outlines; one with children is the term not "
        f"further specified); a node has the sum of the leaves below it; darker is more probable."
    )
    _save(job, "label_nodes", figure, f"Mean node probabilities of cells labelled {name}", caption, nodes)


def _chosen(predictions: Predictions, job: Job) -> str:
    """Return the term whose cells are plotted: the configured one, or the most frequent."""
    cells = pd.Series(predictions.true_n[predictions.scored_n]).value_counts().sort_index()
    wanted = job.section.graph_label.get(job.dataset)
    if wanted is None:
        return cells.idxmax()
    term = predictions.ontology.current(wanted)
    if term not in cells.index:
        raise WcedError(f"graph_label: no cell of {job.dataset} is labelled {wanted}")
    return term


def _descent(predictions: Predictions, job: Job) -> None:
    """Plot how greedy decoding goes from the root to the leaves, and where it leaves the way to the true type."""
    path_ns, cut = predictions.descent_ns, predictions.cut
    cells, steps = len(path_ns), path_ns.shape[1] - 1
    if not steps:  # the root is the only leaf
        return
    flows = pd.DataFrame(
        {
            "step": np.tile(np.arange(steps), cells),
            "source": path_ns[:, :-1].ravel(),
            "target": path_ns[:, 1:].ravel(),
            "true": np.repeat(predictions.true_n, steps),
        }
    )
    flows = flows[flows["source"] != flows["target"]]
    flows = flows.value_counts(dropna=False, sort=False).rename("cells").reset_index()
    current = [predictions.ontology.current(term) for term in cut.terms]
    kinds = {
        (target, true): "other" if pd.isna(true)
        else "miss" if matches.kind(true, current[target], predictions.ontology) == "miss"
        else "exact"
        for target, true in flows[["target", "true"]].drop_duplicates().itertuples(index=False)
    }  # fmt: skip
    flows["kind"] = [kinds[pair] for pair in zip(flows["target"], flows["true"], strict=True)]
    # Nodes that few cells pass are pooled; the cells that reach a node are its size.
    least = job.section.descent_min_share
    reached = flows.groupby(["step", "target"])["cells"].sum()
    few = reached.index[reached < least * cells]
    for side, column in (("source", flows["step"] - 1), ("target", flows["step"])):
        is_few = pd.MultiIndex.from_arrays([column, flows[side]]).isin(few)
        flows[side] = flows[side].map(dict(enumerate(cut.terms))).mask(is_few, OTHER)
    flows["kind"] = flows["kind"].mask(flows["target"] == OTHER, "other")
    flows = flows.groupby(["step", "source", "target", "kind"], as_index=False)["cells"].sum()
    orders = _orders(flows, [cut.terms[cut.root]])
    figure, (axis,) = panels(1, 1.45 * len(orders) + 0.6, max(0.36 * max(map(len, orders)) + 1.4, 4))
    names = _names(predictions)
    sankey(axis, flows, orders, colours=COLOURS, names=names | {OTHER: ""}, wrap=20)
    meaning = {"exact": "on the way to the true type", "miss": "off it", "other": "pooled or unlabelled"}
    _legend(figure, flows["kind"], meaning)
    caption = (
        f"All {cells:,} cells start at the root (left) and take at each node its most probable child until they reach "
        f"a leaf. Nodes that fewer than {least:.0%} of the cells pass are pooled."
    )
    data = flows.assign(source=flows["source"].map(names), target=flows["target"].map(names))
    _save(job, "greedy_descent", figure, "Greedy decoding from the root to the leaves", caption, data)


def _orders(flows: pd.DataFrame, first: list[str]) -> list[list[str]]:
    """Return the order of the nodes of each column; the pooled node is at the bottom."""
    return [sorted(order, key=lambda node: node == OTHER) for order in by_source(flows, first)]


def _names(predictions: Predictions) -> dict[str, str]:
    """Return the name of every term, and of the pooled node."""
    cut = predictions.cut
    return predictions.ontology.labels | dict(zip(cut.terms, cut.labels, strict=True)) | {OTHER: OTHER}


def _legend(figure: Figure, kinds: Collection[str], meaning: Mapping[str, str] = MEANING) -> None:
    """Add the meaning of the colours that occur."""
    looks = {meaning[kind]: colour for kind, colour in COLOURS.items() if kind in set(kinds)}
    legend(figure, "lower center", looks, ncols=len(looks))


def _save(job: Job, name: str, figure: Figure, title: str, caption: str, data: pd.DataFrame) -> None:
    title = f"{title} ({job.dataset}, {job.model})"
    save_figure(job.figures, name, figure, title=title, caption=caption, data=data)
