"""What each database says of the genes of a universe: terms, superclasses, and the sets that programs rest on."""

from pathlib import Path

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.genes.annotation import expression, go, programs
from wced.genes.annotation import transcription_factors as factors
from wced.genes.annotation.references import gene_ids, opened, version
from wced.genes.annotation.universe import Universe
from wced.tables import read_text


def ontology(universe: Universe) -> go.GeneOntology:
    """Read the Gene Ontology and its annotation of the genes."""
    settings, folder = universe.settings, universe.folder
    with opened(settings.go_graph, folder) as path:
        graph = go.read_graph(path, settings.go_relations)
        facts = universe.identity_of("go_graph", path)
    facts["version"] += f", {graph.version}"
    universe.note("family", "Gene Ontology graph", f"descendants by {' and '.join(settings.go_relations)}", **facts)
    with opened(settings.go_annotation, folder) as path:
        pairs = go.read_annotation(path, settings.evidence)
        facts = universe.identity_of("go_annotation", path)
    words = pd.unique(pairs["gene"])
    id_of_word = pd.Series(gene_ids(words, universe.names), index=words)
    found = go.gene_ontology(graph, pairs.assign(gene_id=pairs["gene"].map(id_of_word)), universe.gene_id)
    universe.note(
        "family",
        "Gene Ontology annotation",
        f"{', '.join(settings.evidence) or 'all'} evidence codes; {found.annotated_gt.nnz} of {len(pairs)} pairs of a "
        f"gene and a term are of protein-coding genes and terms of the graph; {found.terms_unknown} name no term of it",
        genes=found.annotated_gt.sum(axis=1) > 0,
        names=len(words),
        names_unmapped=int((id_of_word == "").sum()),
        **facts,
    )
    return found


def superclasses(universe: Universe, terms: go.GeneOntology, hgnc: str | Path) -> np.ndarray:
    """Return the TFClass superclass of each gene as text, the empty string for none; object (genes,)."""
    settings = universe.settings
    if settings.tfclass is not None:
        with opened(settings.tfclass, universe.folder) as path:
            found = factors.read_tfclass(path)
            facts = universe.identity_of("tfclass", path)
        source, text = "TFClass", "superclass of the factor"
        unmapped = ~found["gene_id"].isin(universe.table["gene_id"])
    else:
        with opened(settings.jaspar, universe.folder) as path:
            profiles = factors.read_jaspar(path)
            facts = universe.identity_of("jaspar", path)
        is_factor = pd.Series(terms.has(factors.TF_TERM), index=universe.gene_id)
        named = read_hgnc_names(hgnc).reindex(universe.gene_id, fill_value="")
        found = factors.superclasses(profiles, universe.names, named, is_factor)
        source = "JASPAR and HGNC"
        text = f"class of the factor in JASPAR, else HGNC's name of genes of {factors.TF_TERM}, by tf_superclasses.tsv"
        unmapped = gene_ids(pd.unique(profiles["name"]), universe.names) == ""
    superclass_g = found.set_index("gene_id")["superclass"].reindex(universe.gene_id, fill_value="")
    counts = {"names": len(unmapped), "names_unmapped": int(unmapped.sum())}
    universe.note("tf_superclass", source, text, genes=superclass_g != "", **counts, **facts)
    return superclass_g.to_numpy(dtype=object)


def read_hgnc_names(path: str | Path) -> pd.Series:
    """Return HGNC's name (`zinc finger protein 8`) of every approved gene, indexed by Ensembl id."""
    wanted = ["name", "status", "ensembl_gene_id"]
    frame = read_text(path, "the HGNC complete set", usecols=wanted)
    frame = frame[(frame["status"] == "Approved") & (frame["ensembl_gene_id"] != "")]
    return frame.drop_duplicates("ensembl_gene_id").set_index("ensembl_gene_id")["name"]


def cell_cycle(universe: Universe, terms: go.GeneOntology) -> np.ndarray:
    """Return which genes are of the cell cycle, bool (genes,)."""
    found_g = terms.has(programs.CELL_CYCLE_TERM)
    universe.note(
        "cell_cycle", "Gene Ontology", programs.CELL_CYCLE_TERM, genes=found_g, version=terms.graph.version
    )  # fmt: skip
    return found_g


def dissociation(universe: Universe, terms: go.GeneOntology) -> np.ndarray:
    """Return which genes respond to dissociation, bool (genes,)."""
    by_term_g = np.any([terms.has(term) for term in programs.DISSOCIATION_TERMS], axis=0)
    text = " or ".join(programs.DISSOCIATION_TERMS)
    universe.note("dissociation", "Gene Ontology", text, genes=by_term_g, version=terms.graph.version)
    if universe.settings.dissociation is not None:
        return by_term_g | universe.listed("dissociation", "list of core immediate early genes")
    core = gene_ids(np.array(programs.NAMED_CORE, dtype=object), universe.names)
    core_g = universe.among(core)
    universe.note(
        "dissociation",
        "BMFM-RNA paper",
        f"proxy: {', '.join(programs.NAMED_CORE)}, the core immediate early genes that its text names, of 15",
        genes=core_g,
        proxy=True,
        names=len(core),
        names_unmapped=int((core == "").sum()),
    )
    return by_term_g | core_g


def breadth(universe: Universe, kind: str) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Read expression by `kind`, tissue or cell_type.

    Returns
    -------
    tuple
        Expression of the genes that have it (nTPM), indexed by Ensembl id; and the columns of the annotation that
        come from it, each float64 (genes,), NaN for the other genes.
    """
    name = f"{kind}_expression"
    with opened(getattr(universe.settings, name), universe.folder) as path:
        every = expression.read_expression(path)
        facts = universe.identity_of(name, path)
    known_gt = every[every.index.isin(universe.gene_id)]
    found = {
        f"{kind}_specificity_tau": (expression.tau(known_gt), "tau index of log2(1 + nTPM)"),
        f"n_{kind}s": (expression.detected(known_gt).astype(float), f"at least {expression.DETECTED:g} nTPM"),
    }
    source = f"{every.shape[1]} {kind.replace('_', ' ')}s of the Human Protein Atlas"
    for column, (_, text) in found.items():
        universe.note(column, source, text, genes=universe.among(known_gt.index), names=len(every), **facts)
    return known_gt, {column: values.reindex(universe.gene_id).to_numpy() for column, (values, _) in found.items()}


def cell_type_specificity(universe: Universe, expression_gc: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the category of each gene, object (genes,), and which genes it makes identity-associated, bool."""
    given = universe.settings.cell_type_specificity
    if given is not None:
        with opened(given, universe.folder) as path:
            category = expression.read_specificity(path)
            facts = universe.identity_of("cell_type_specificity", path)
        text = "HPA's own category"
    else:
        category = expression.specificity(expression_gc)
        facts, text = {"version": version(universe.settings.cell_type_expression)}, expression.SPECIFICITY_RULE
    category_g = category.reindex(universe.gene_id, fill_value="").to_numpy(dtype=object)
    facts |= {"proxy": given is None}
    universe.note(
        "cell_type_specificity", "Human Protein Atlas", text, genes=category_g != "", names=len(category), **facts
    )  # fmt: skip
    identity_g = np.isin(category_g, [expression.ENRICHED, expression.GROUP_ENRICHED])
    if not identity_g.any():
        raise WcedError("annotation.cell_type_specificity: no gene is cell type enriched or group enriched")
    text = f"{'proxy: ' if given is None else ''}cell type enriched or group enriched"
    universe.note("identity", "cell_type_specificity", text, genes=identity_g, proxy=given is None)
    return category_g, identity_g


def housekeeping(universe: Universe, expression_gt: pd.DataFrame) -> np.ndarray:
    """Return which genes are constitutive, bool (genes,)."""
    proxy_g = universe.among(expression.housekeeping(expression_gt))
    if universe.settings.housekeeping is None:
        text = f"{expression.HOUSEKEEPING_RULE}; {expression.HOUSEKEEPING_OVERLAP}"
        facts = {"version": version(universe.settings.tissue_expression), "names": len(expression_gt)}
        universe.note("housekeeping", "tissue expression", text, genes=proxy_g, proxy=True, **facts)
        return proxy_g
    listed_g = universe.listed("housekeeping", "list of housekeeping genes")
    shared, others = int((proxy_g & listed_g).sum()), int((proxy_g & ~listed_g).sum())
    universe.notes[-1]["note"] += f"; the proxy by tissue expression would have {shared} of these and {others} others"
    return listed_g
