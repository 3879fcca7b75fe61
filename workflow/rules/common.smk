# What the rules of all rooms share: names of models and tables, and how a config section becomes a parameter.

CHECKPOINTS = list(RUN.pretraining.checkpoints)

# Those that decode expression, whose gene errors are analysed.
DECODING = [name for name, trained in RUN.pretraining.checkpoints.items() if trained.wced or trained.mlm]

# Folder of each model that is a checkpoint; an untrained one has that of the checkpoint whose encoder it is.
FOLDERS = {name: f"{OUT}/pretraining/{name}" for name in CHECKPOINTS}
FOLDERS |= {name: FOLDERS[RUN.embedding.untrained] for name in RUN.embedding.untrained_models}

# Those that have a head over the Cell Ontology.
WITH_ONTOLOGY = [
    f"{OUT}/pretraining/{name}"
    for name, trained in RUN.pretraining.checkpoints.items()
    if any(head.loss == "hierarchical" for head in trained.label_heads)
]
ANNOTATED = {name: folder for name, folder in FOLDERS.items() if folder in WITH_ONTOLOGY}

TABLES = [
    "sources_qc",
    "skipped",
    "corpus",
    "qc",
    "qc_histograms",
    "sampling",
    "split",
    "split_exceptions",
    "leakage",
    *RUN.benchmarks.tables,
    *(["comparisons", "ranking"] if RUN.benchmarks.tasks else []),
    *(["ablation", "ablation_effects"] if RUN.ablation else []),
    *(["gene_annotation_sources", "gene_groups"] if RUN.annotation else []),
    "gene_errors",
    "learnability",
    "learnability_summary",
    "timings",
]


def dump(section):
    """Return a config section as JSON text, the form in which commands take it."""
    return section.model_dump_json()


def checkpoint_section(wildcards):
    """Return the pretraining section with this checkpoint only, so that editing one retrains no other."""
    name = wildcards.checkpoint
    return dump(RUN.pretraining.model_copy(update={"checkpoints": {name: RUN.pretraining.checkpoints[name]}}))


wildcard_constraints:
    dataset=r"[A-Za-z0-9_]+",
    model="|".join(RUN.models),
    checkpoint="|".join(CHECKPOINTS),
    task="|".join(RUN.benchmarks.tasks) or "none",
    shard=r"\d+",
