# What the rules of all rooms share: names of models and tables, and how a config section becomes a parameter.
from hashlib import sha256
from pathlib import Path

from wced.files import whole_file

CHECKPOINTS = list(RUN.pretraining.checkpoints)

# Those that decode expression, whose gene errors are analysed.
DECODING = [name for name, checkpoint in RUN.pretraining.checkpoints.items() if checkpoint.wced or checkpoint.mlm]

# Folder of each checkpoint, and of the checkpoint whose encoder a model at step 0 or an untrained one has.
FOLDERS = {name: f"{OUT}/pretraining/{name}" for name in CHECKPOINTS}
FOLDERS |= {name: FOLDERS[checkpoint] for name, checkpoint in RUN.embedding.step_0_models.items()}
FOLDERS |= {name: FOLDERS[RUN.embedding.untrained] for name in RUN.embedding.untrained_models}

# Those with a head over the Cell Ontology.
WITH_ONTOLOGY = [
    FOLDERS[name]
    for name, checkpoint in RUN.pretraining.checkpoints.items()
    if any(head.loss == "hierarchical" for head in checkpoint.label_heads)
]
ANNOTATED = {name: folder for name, folder in FOLDERS.items() if folder in WITH_ONTOLOGY}

# Section of every benchmark that is run.
TASKS = RUN.benchmarks.tasks

TABLES = ["sources_qc", "skipped", "corpus", "qc", "qc_histograms", "sampling", "split", "split_exceptions", "leakage"]
TABLES += RUN.benchmarks.tables
TABLES += ["comparisons", "ranking"] if TASKS else []
TABLES += ["ablation", "ablation_effects"] if RUN.ablation else []
TABLES += ["gene_annotation_sources", "gene_groups"] if RUN.annotation else []
TABLES += ["gene_errors", "learnability", "learnability_summary", "timings"]


def argument(text):
    """Return JSON for a command; the path of a file with it if it is too long for the system (128 kB a word)."""
    if len(text.encode()) < 100_000:
        return text
    path = Path(OUT, "sections", f"{sha256(text.encode()).hexdigest()[:16]}.json")
    if not (workflow.dryrun or path.exists()):
        with whole_file(path) as temporary:
            temporary.write_text(text)
    return str(path)


def dump(section, **which):
    """Return a config section, or a part of it, for a command.

    Only for functions of parameters: in other parameters Snakemake reads names in braces as wildcards.
    """
    return argument(section.model_dump_json(**which))


def option(name, path):
    """Return an option of a command, without a path none. In a shell line it is quoted."""
    return [f"--{name}={path}"] if path else []


def checkpoint_section(wildcards):
    """Return the pretraining section with this checkpoint only, so that a change of one retrains no other."""
    name = wildcards.checkpoint
    return dump(RUN.pretraining.model_copy(update={"checkpoints": {name: RUN.pretraining.checkpoints[name]}}))


def extended(wildcards):
    """Return the checkpoint of this run whose training is continued."""
    folder = RUN.pretraining.checkpoints[wildcards.checkpoint].extend_from
    return [folder] if folder in [FOLDERS[name] for name in CHECKPOINTS] else []


def baseline_section(wildcards):
    """Return the part of the section that a baseline needs, so that a new dataset or model embeds nothing again."""
    keep = {"datasets": [], "baselines": [wildcards.get("baseline", "corpus_pca")], "external": {}, "concat": []}
    keep |= {"min_gene_share": {}, "readouts": {}, "step_0": [], "untrained": None, "untrained_seeds": []}
    return dump(RUN.embedding.model_copy(update=keep))


def weights(model):
    """Return the folder of a model's weights in that of its checkpoint: those trained, or those at step 0."""
    return "step_0" if model in RUN.embedding.step_0_models else "model"


def min_gene_share(wildcards):
    """Return the option for a dataset that may have fewer genes of the model than the default."""
    share = RUN.embedding.min_gene_share.get(wildcards.dataset)
    return [] if share is None else [f"--min-gene-share={share}"]


def untrained_seed(name):
    """Return the seed of the random weights of an untrained model."""
    seed = RUN.embedding.untrained_models.get(name)
    return RUN.seed if seed is None else seed


def score_inputs(wildcards):
    """Return the inputs that a benchmark needs and the model has."""
    dataset, model, section = wildcards.dataset, wildcards.model, TASKS[wildcards.task]
    inputs = {
        "embedding": f"{OUT}/embedding/{dataset}/{model}.h5ad",
        "neighbours": f"{OUT}/embedding/{dataset}/{model}.neighbours.npz",
        "source": f"{OUT}/corpus/sources/{dataset}.h5ad",
    }
    if model in ANNOTATED:
        inputs["annotation"] = f"{OUT}/embedding/{dataset}/{model}.annotation.parquet"
    if model in FOLDERS:
        inputs["checkpoint"] = FOLDERS[model]
    if "reference" in section.needs:
        inputs["reference"] = f"{OUT}/embedding/{section.train_on}/{model}.h5ad"
    return {name: path for name, path in inputs.items() if name in ("embedding", *section.needs)}


wildcard_constraints:
    dataset=r"[A-Za-z0-9_]+",
    model="|".join(RUN.models),
    checkpoint="|".join(CHECKPOINTS),
    task="|".join(TASKS) or "none",
    shard=r"\d+",
