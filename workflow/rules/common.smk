# What the rules of all rooms share: names of models and tables, and how a config section becomes a parameter.

CHECKPOINTS = list(RUN.pretraining.checkpoints)

# Those that decode expression, whose gene errors are analysed.
DECODING = [name for name, trained in RUN.pretraining.checkpoints.items() if trained.wced or trained.mlm]

# Folder of each model that has a head over the Cell Ontology; the untrained one has that of its checkpoint.
ANNOTATED = {
    name: f"{OUT}/pretraining/{name}"
    for name, trained in RUN.pretraining.checkpoints.items()
    if any(head.loss == "hierarchical" for head in trained.label_heads)
}
if RUN.embedding.untrained in ANNOTATED:
    ANNOTATED["untrained"] = ANNOTATED[RUN.embedding.untrained]

TABLES = [
    "sources_qc",
    "corpus",
    "qc",
    "qc_histograms",
    "sampling",
    "split",
    "split_exceptions",
    "zero_shot_integration",
    "cell_type_classification",
    "zero_shot_annotation",
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
    shard=r"\d+",
