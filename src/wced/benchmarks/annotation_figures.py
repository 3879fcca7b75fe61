"""Figures of zero-shot annotation (paper's Figure 3): flows of labels, probable nodes, greedy decoding, and more."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from wced.benchmarks import matches, ontology_graph
from wced.benchmarks.job import Job
from wced.benchmarks.sankey import by_source, sankey
from wced.benchmarks.scores import Score, known
from wced.errors import WcedError
from wced.figures import save_figure

if TYPE_CHECKING:
    from wced.benchmarks.zero_shot_annotation import Predictions

COLOURS = {"exact": "#228833", "descendant": "#4477AA", "ancestor": "#AA3377", "miss": "#CC3311", "other": "#BBBBBB"}
"""Colour of each kind of prediction; `other` is for what is pooled or can not be judged."""
MEANING = {
    "exact": "exact",
    "descendant": "finer (a descendant)",
    "ancestor": "coarser (an ancestor)",
    "miss": "miss",
    "other": "other",
}
OTHER = "other labels"


def draw(found: "Predictions", scores: Mapping[str, Score], job: Job) -> None:
    """Write the figures of a model on a dataset into the job's folder.

    Parameters
    ----------
    found
        Truth and predictions; at least one cell has a truth. Figures of probabilities need those of the leaves.
    scores
        Scores by their metric, for those at every depth.
    job
        The job, with a folder for figures.
    """
    flow_figure(found, job)
    labels_figure(found, job)
    depth_figure(scores, job)
    if found.leaf_probability_nl is not None:
        nodes_figure(found, job)
        descent_figure(found, job)


def flow_figure(found: "Predictions", job: Job) -> None:
    """Draw which labels became which: the most frequent ones on either side, the rest as one."""
    most, where = job.section.flow_labels, f"{job.dataset}, {job.model}"
    pairs = matches.pairs(found.true_n[found.scored_n], found.leaf_n[found.scored_n], found.ontology)
    sides = {}
    for side in ("true", "predicted"):
        cells = pairs.groupby(side)["cells"].sum().sort_index().sort_values(ascending=False, kind="stable")
        sides[side] = list(cells.index[:most])
        pairs[f"{side}_shown"] = pairs[side].where(pairs[side].isin(sides[side]), OTHER)
    pooled = (pairs["true_shown"] == OTHER) | (pairs["predicted_shown"] == OTHER)
    flows = pairs.assign(step=0, kind=pairs["kind"].where(~pooled, "other"))
    flows = flows.rename(columns={"true_shown": "source", "predicted_shown": "target"})
    flows = flows.groupby(["step", "source", "target", "kind"], as_index=False)["cells"].sum()
    first = [*sides["true"], *([OTHER] if (flows["source"] == OTHER).any() else [])]
    orders = by_source(flows, first)
    orders[1].sort(key=lambda node: node == OTHER)  # the rest at the bottom
    figure = Figure(figsize=(8, 0.28 * max(len(orders[0]), len(orders[1])) + 2.2), layout="constrained")
    axis = figure.subplots()
    sankey(axis, flows, orders, colours=COLOURS, names=_names(found), wrap=44, sides=("left", "right"))
    axis.set_title("true label → most probable leaf", fontsize=9)
    _legend(figure, flows["kind"].unique())
    names = _names(found)
    save_figure(
        job.figures, "label_flow", figure,
        title=f"Flow of true to predicted cell types ({where})",
        caption=(
            f"Left: true labels of {pairs['cells'].sum():,} cells; right: the most probable leaf of the ontology "
            f"head; the {most} most frequent of each, the rest as one (grey). Green: the same term; blue: a finer one; "
            f"purple: a coarser one; red: none of these."
        ),
        data=flows.assign(source=flows["source"].map(names), target=flows["target"].map(names)).drop(columns="step"),
    )  # fmt: skip


def label_table(found: "Predictions") -> pd.DataFrame:
    """Return what becomes of each label of the dataset, those that nothing can be scored of among them.

    Returns
    -------
    pd.DataFrame
        One row per label, the most frequent first: `label`, `term` (that replaces an obsolete one), `name`, `cells`,
        `mapping` (where the model's ontology has it), shares `exact`, `descendant`, `ancestor`, `miss`, and the most
        frequent prediction, `most_predicted`.
    """
    cut, ontology = found.cut, found.ontology
    leaves = {cut.terms[leaf] for leaf in cut.leaves}
    table = []
    names = _names(found)
    for label, cells in pd.Series(found.label_n).value_counts().sort_index().items():
        here = found.label_n == label
        term = found.true_n[here][0]
        row = {"label": label, "term": term or "", "name": names.get(term, label), "cells": cells}
        if term is None:
            row["mapping"] = "not in the Cell Ontology" if known(pd.Series([label]))[0] else "no label"
        else:
            row["mapping"] = _mapping(term, leaves, ontology)
            pairs = matches.pairs(found.true_n[here], found.leaf_n[here], ontology)
            shares = pairs.groupby("kind")["cells"].sum() / cells
            row |= {kind: shares.get(kind, 0.0) for kind in matches.KINDS}
            row["most_predicted"] = names[pairs.loc[pairs["cells"].idxmax(), "predicted"]]
        table.append(row)
    columns = ["label", "term", "name", "cells", "mapping", *matches.KINDS, "most_predicted"]
    return pd.DataFrame(table, columns=columns).sort_values("cells", ascending=False, kind="stable", ignore_index=True)


def _mapping(term: str, leaves: set[str], ontology) -> str:
    """Say where the ontology of a model has a term."""
    if term in leaves:
        return "a leaf of the model"
    if leaves & ontology.descendants(term):
        return "above leaves of the model: finer labels only"
    return "below a leaf of the model: coarser labels only" if leaves & ontology.ancestors(term) else "out of reach"


def labels_figure(found: "Predictions", job: Job) -> None:
    """Draw what each label's cells were called, and list the labels that cannot be scored."""
    table = label_table(found)
    shown = table[table["term"] != ""].reset_index(drop=True)
    figure = Figure(figsize=(8, 0.2 * len(shown) + 1.2), layout="constrained")
    axis = figure.subplots()
    left = np.zeros(len(shown))
    for kind in matches.KINDS:
        axis.barh(shown.index, shown[kind], left=left, color=COLOURS[kind], alpha=0.8, height=0.8)
        left += shown[kind].to_numpy(dtype=float)
    marks = shown["mapping"].map(
        lambda mapping: {"a": "", "above": " ▲", "below": " ▼", "out": " ✕"}[mapping.partition(" ")[0]]
    )
    axis.set_yticks(shown.index, shown["name"] + " (" + shown["cells"].map("{:,}".format) + ")" + marks, fontsize=7)
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.set_xlim(0, 1)
    axis.tick_params(axis="x", labelsize=8)
    axis.set_xlabel("share of the label's cells", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    _legend(figure, matches.KINDS)
    lost = table[table["term"] == ""]
    listed = ", ".join(f"{row.label} ({row.cells:,}: {row.mapping})" for row in lost.itertuples())
    save_figure(
        job.figures, "labels", figure,
        title=f"What the cells of each label were called ({job.dataset}, {job.model})",
        caption=(
            f"Shares of each label's cells (numbers of cells in brackets) whose most probable leaf is the label, "
            f"finer, coarser, or none of these. ▲: the model knows only finer labels, so that none can be exact; ▼: "
            f"only coarser ones; ✕: neither. Labels that cannot be mapped to the Cell Ontology: {listed or 'none'}."
        ),
        data=table,
    )  # fmt: skip


def depth_figure(scores: Mapping[str, Score], job: Job) -> None:
    """Draw the accuracy at every depth, by the most probable leaf and by greedy decoding."""
    styles = {"accuracy": ("most probable leaf", "o", -0.06), "greedy": ("greedy", "s", 0.06)}
    rows = [
        {"decoding": styles[name][0], "depth": int(depth), "accuracy": score.value, "ci_low": score.ci_low,
         "ci_high": score.ci_high, "cells": score.n}
        for name, _, depth, score in ((*metric.partition("_depth_"), score) for metric, score in scores.items())
        if depth
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    axis = figure.subplots()
    for label, marker, shift in styles.values():
        part = table[table["decoding"] == label]
        if len(part):
            error = np.abs(part[["ci_low", "ci_high"]].to_numpy().T - part["accuracy"].to_numpy())
            axis.errorbar(
                part["depth"] + shift,
                part["accuracy"],
                yerr=error,
                fmt=f"-{marker}",
                ms=4,
                lw=1,
                capsize=2,
                label=label,
            )
    cells = table.drop_duplicates("depth")
    axis.set_xticks(cells["depth"], cells["depth"].astype(str) + "\n" + cells["cells"].map("{:,}".format), fontsize=8)
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlabel("depth in the Cell Ontology, and cells whose true type is so deep", fontsize=8)
    axis.set_ylabel("share right at this depth", fontsize=8)
    axis.set_ylim(0, 1.03)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
    save_figure(
        job.figures, "depths", figure,
        title=f"Accuracy at every depth of the ontology ({job.dataset}, {job.model})",
        caption=(
            "True and predicted type rolled up to their ancestors at each depth (longest is_a path from the root); "
            "right are cells where these have a term in common. Cells whose true type is less deep are left out (the "
            "second line of the axis counts the others). Bars: Wilson's 95% intervals."
        ),
        data=table,
    )  # fmt: skip


def nodes_figure(found: "Predictions", job: Job) -> None:
    """Draw the mean probabilities of the ontology's nodes for the cells of one label."""
    term = _chosen(found, job)
    cells = np.flatnonzero(found.true_n == term)
    mean_t, cut = found.node_probabilities(cells).mean(axis=0), found.cut
    names, least = _names(found), job.section.graph_min_probability
    # A parent has at least the probability of its child, so that what is kept holds all its ancestors.
    kept = sorted(np.flatnonzero(mean_t > least), key=lambda t: (cut.ancestors_tt[t].sum(), cut.terms[t]))
    place = {t: i for i, t in enumerate(kept)}
    nodes = pd.DataFrame(
        {
            "term": [cut.terms[t] for t in kept],
            "name": [cut.labels[t] for t in kept],
            "probability": mean_t[kept],
            "kind": [matches.kind(term, found.ontology.current(cut.terms[t]), found.ontology) for t in kept],
            "leaf": np.isin(kept, cut.leaves),
        }
    )
    parents = [[place[parent] for parent in cut.parents[t]] for t in kept]
    x_t, layer_t, _ = ontology_graph.layout(parents)
    size = (1.3 * (np.ptp(x_t) + 1.2), 0.72 * (layer_t.max() + 1) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    ontology_graph.draw(figure.subplots(), nodes, parents, COLOURS)
    _legend(figure, nodes["kind"].unique())
    save_figure(
        job.figures, "label_nodes", figure,
        title=f"Mean node probabilities of cells labelled {names[term]} ({job.dataset}, {job.model})",
        caption=(
            f"Nodes of the Cell Ontology with a mean probability above {least:g} for the {len(cells):,} cells whose "
            f"true label is {names[term]}. The model predicts the leaves (bold outlines; one with children is the "
            f"term not further specified); a node has the sum of the leaves below it. Green: the label itself; blue: "
            f"finer; purple: its ancestors; red: misses; darker is more probable."
        ),
        data=nodes,
    )  # fmt: skip


def _chosen(found: "Predictions", job: Job) -> str:
    """Return the term whose cells are drawn: the configured one, or the most frequent."""
    cells = (
        pd.Series(found.true_n[found.scored_n]).value_counts().sort_index().sort_values(ascending=False, kind="stable")
    )
    wanted = job.section.graph_label.get(job.dataset)
    if wanted is None:
        return cells.index[0]
    term = found.ontology.current(wanted)
    if term not in cells.index:
        raise WcedError(f"graph_label: no cell of {job.dataset} is labelled {wanted}")
    return term


def descent_figure(found: "Predictions", job: Job) -> None:
    """Draw how greedy decoding goes from the root to the leaves, and where it leaves the way to the true type."""
    path_ns, terms = found.descent_ns, np.array(found.cut.terms, dtype=object)
    if path_ns.shape[1] == 1:  # the root is the only leaf
        return
    seen, least = len(path_ns), job.section.descent_min_share
    steps = []
    for step in range(path_ns.shape[1] - 1):
        part = pd.DataFrame({"source": path_ns[:, step], "target": path_ns[:, step + 1], "true": found.true_n})
        part = part[part["source"] != part["target"]]
        steps.append(part.value_counts(dropna=False, sort=False).rename("cells").reset_index().assign(step=step))
    flows = pd.concat(steps, ignore_index=True)
    for side in ("source", "target"):
        flows[side] = terms[flows[side]]
    distinct = flows[["target", "true"]].drop_duplicates()
    current = {term: found.ontology.current(term) for term in found.cut.terms}
    right = {
        (target, true): "other" if pd.isna(true)
        else "miss" if matches.kind(true, current[target], found.ontology) == "miss"
        else "exact"
        for target, true in distinct.itertuples(index=False)
    }  # fmt: skip
    flows["kind"] = [right[pair] for pair in zip(flows["target"], flows["true"], strict=True)]
    # A node that few cells pass is drawn as one with its like; its size is told by what reaches it.
    reach = flows.groupby(["step", "target"])["cells"].sum()
    few = set(reach[reach < least * seen].index)
    flows["source"] = [
        OTHER if (step - 1, node) in few else node for step, node in zip(flows["step"], flows["source"], strict=True)
    ]
    flows["target"] = [
        OTHER if (step, node) in few else node for step, node in zip(flows["step"], flows["target"], strict=True)
    ]
    flows.loc[flows["target"] == OTHER, "kind"] = "other"
    flows = flows.groupby(["step", "source", "target", "kind"], as_index=False)["cells"].sum()
    orders = by_source(flows, [found.cut.terms[found.cut.root]])
    for order in orders:
        order.sort(key=lambda node: node == OTHER)
    tallest = max(len(order) for order in orders)
    figure = Figure(figsize=(1.45 * len(orders) + 0.6, max(0.36 * tallest + 1.4, 4)), layout="constrained")
    names = _names(found)
    sankey(figure.subplots(), flows, orders, colours=COLOURS, names={**names, OTHER: ""}, wrap=20)
    _legend(
        figure,
        flows["kind"].unique(),
        {"exact": "on the way to the true type", "miss": "off it", "other": "pooled or unlabelled"},
    )
    save_figure(
        job.figures, "greedy_descent", figure,
        title=f"Greedy decoding from the root to the leaves ({job.dataset}, {job.model})",
        caption=(
            f"All {seen:,} cells start at the root (left) and take at each node its most probable child until they "
            f"reach a leaf. Green: the node is the true type, an ancestor or a kind of it; red: it is none of these; "
            f"grey: the cell has no true type, or fewer than {least:.0%} of the cells pass the node."
        ),
        data=flows.assign(source=flows["source"].map(names), target=flows["target"].map(names)),
    )  # fmt: skip


def _names(found: "Predictions") -> dict[str, str]:
    """Return the name of every term, and what stands for the rest."""
    return {**found.ontology.labels, **dict(zip(found.cut.terms, found.cut.labels, strict=True)), OTHER: OTHER}


def _legend(figure: Figure, kinds: Collection[str], meaning: dict[str, str] = MEANING) -> None:
    """Say what the colours of the kinds that occur mean."""
    handles = [Patch(color=COLOURS[kind], label=meaning[kind]) for kind in COLOURS if kind in set(kinds)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=7, frameon=False)
