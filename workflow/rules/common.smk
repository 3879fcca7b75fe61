# What the rules of all rooms share: names of models and tables, and how a config section becomes a parameter.
from hashlib import sha256
from pathlib import Path

from wced.files import whole_file

CHECKPOINTS = list(RUN.pretraining.checkpoints)

# Those that decode expression, whose gene errors are analysed.
DECODING = [name for name, trained in RUN.pretraining.checkpoints.items() if trained.wced or trained.mlm]

# Folder of each model that is a checkpoint; one at step 0 or untrained has that of the checkpoint whose encoder it is.
FOLDERS = {name: f"{OUT}/pretraining/{name}" for name in CHECKPOINTS}
FOLDERS |= {name: FOLDERS[checkpoint] for name, checkpoint in RUN.embedding.step_0_models.items()}
FOLDERS |= {name: FOLDERS[RUN.embedding.untrained] for name in RUN.embedding.untrained_models}

# Those that have a head over the Cell Ontology.
WITH_ONTOLOGY = [
    f"{OUT}/pretraining/{name}"
    for name, trained in RUN.pretraining.checkpoints.items()
    if any(head.loss == "hierarchical" for head in trained.label_heads)
]
ANNOTATED = {name: folder for name, folder in FOLDERS.items() if folder in WITH_ONTOLOGY}

# Section of every benchmark that is run.
TASKS = RUN.benchmarks.tasks

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


def argument(text):
    """Return JSON as commands take it; the path of a file with it where the system takes no word so long (128 kB)."""
    if len(text.encode()) < 100_000:
        return text
    path = Path(OUT, "sections", f"{sha256(text.encode()).hexdigest()[:16]}.json")
    if not (workflow.dryrun or path.exists()):
        with whole_file(path) as temporary:
            temporary.write_text(text)
    return str(path)


def dump(section, **which):
    """Return a config section, or which part of it, as commands take it.

    In functions of parameters only: in other parameters Snakemake takes names in braces for wildcards.
    """
    return argument(section.model_dump_json(**which))


def option(name, path):
    """Return the words of an option of a command: none where there is no file. In a shell line they are quoted."""
    return [f"--{name}={path}"] if path else []


def checkpoint_section(wildcards):
    """Return the pretraining section with this checkpoint only, so that editing one retrains no other."""
    name = wildcards.checkpoint
    return dump(RUN.pretraining.model_copy(update={"checkpoints": {name: RUN.pretraining.checkpoints[name]}}))


def extended(wildcards):
    """Return the checkpoint of this run that a longer training goes on from."""
    folder = RUN.pretraining.checkpoints[wildcards.checkpoint].extend_from
    return [folder] if folder in {f"{OUT}/pretraining/{name}" for name in CHECKPOINTS} else []


def baseline_section(wildcards):
    """Return what a baseline needs of the section, so that adding a dataset or a model embeds nothing again."""
    keep = {"datasets": [], "baselines": [wildcards.get("baseline", "corpus_pca")], "external": {}, "concat": []}
    keep |= {"min_gene_share": {}, "readouts": {}, "step_0": [], "untrained": None, "untrained_seeds": []}
    return dump(RUN.embedding.model_copy(update=keep))


def weights(model):
    """Return which weights in the folder of its checkpoint a model has: the trained ones, or those at step 0."""
    return "step_0" if model in RUN.embedding.step_0_models else "model"


def min_gene_share(wildcards):
    """Return the option of a dataset that may have fewer genes of the model than the default."""
    share = RUN.embedding.min_gene_share.get(wildcards.dataset)
    return [] if share is None else [f"--min-gene-share={share}"]


def untrained_seed(name):
    """Return the seed of the fresh weights of an untrained model."""
    seed = RUN.embedding.untrained_models.get(name)
    return RUN.seed if seed is None else seed


def score_inputs(wildcards):
    """Return what the benchmark reads, by the words of its section, as far as the model has it."""
    dataset, model, section = wildcards.dataset, wildcards.model, TASKS[wildcards.task]
    found = {
        "embedding": f"{OUT}/embedding/{dataset}/{model}.h5ad",
        "neighbours": f"{OUT}/embedding/{dataset}/{model}.neighbours.npz",
        "source": f"{OUT}/corpus/sources/{dataset}.h5ad",
    }
    if model in ANNOTATED:
        found["annotation"] = f"{OUT}/embedding/{dataset}/{model}.annotation.parquet"
    if model in FOLDERS:
        found["checkpoint"] = FOLDERS[model]
    if "reference" in section.needs:
        found["reference"] = f"{OUT}/embedding/{section.train_on}/{model}.h5ad"
    return {name: path for name, path in found.items() if name in ("embedding", *section.needs)}


wildcard_constraints:
    dataset=r"[A-Za-z0-9_]+",
    model="|".join(RUN.models),
    checkpoint="|".join(CHECKPOINTS),
    task="|".join(RUN.benchmarks.tasks) or "none",
    shard=r"\d+",
