# Scores of embeddings: one job per task, dataset and model, then one table per task.
from wced.benchmarks import FORMAT_VERSION as BENCHMARKS_VERSION


def benchmark_section(task):
    """Return a function that gives a task's section for one dataset, so that adding a dataset scores no other again."""

    def of_job(wildcards):
        section = getattr(RUN.benchmarks, task)
        return dump(section.model_copy(update={"datasets": [wildcards.dataset]}))

    return of_job


def score_files(task):
    """Return the score files of a task, in the order of the config."""
    datasets = getattr(RUN.benchmarks, task).datasets
    return expand(
        f"{OUT}/benchmarks/{task}/{{dataset}}.{{model}}.tsv",
        dataset=datasets,
        model=RUN.models,
    )


def has_ontology_head(model):
    """Return whether a model is a checkpoint that was trained to predict the Cell Ontology."""
    trained = RUN.pretraining.checkpoints.get(model)
    return trained is not None and any(head.loss == "hierarchical" for head in trained.label_heads)


def annotation_inputs(wildcards):
    """Return the predicted cell types and the folder of the checkpoint that predicted them, if the model has any."""
    if not has_ontology_head(wildcards.model):
        return {}
    return {
        "annotation": f"{OUT}/embedding/{wildcards.dataset}/{wildcards.model}.annotation.parquet",
        "folder": f"{OUT}/pretraining/{wildcards.model}",
    }


def annotation_options(wildcards, input):
    """Return the options that name the predictions."""
    if not has_ontology_head(wildcards.model):
        return ""
    return f"--annotation {input.annotation} --ontology {input.folder}/model/ontology.json"


rule zero_shot_integration:
    input:
        embedding=f"{OUT}/embedding/{{dataset}}/{{model}}.h5ad",
    output:
        scores=f"{OUT}/benchmarks/zero_shot_integration/{{dataset}}.{{model}}.tsv",
    log:
        f"{OUT}/logs/zero_shot_integration/{{dataset}}.{{model}}.log",
    benchmark:
        f"{OUT}/benchmarks_timing/zero_shot_integration/{{dataset}}.{{model}}.tsv"
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        section=benchmark_section("zero_shot_integration"),
        run=RUN.run,
        seed=RUN.seed,
        version=BENCHMARKS_VERSION,
    shell:
        "wced score-zero-shot-integration --embedding {input.embedding} --section {params.section:q}"
        " --run {params.run} --seed {params.seed} --output {output.scores} > {log} 2>&1"


rule cell_type_classification:
    input:
        embedding=f"{OUT}/embedding/{{dataset}}/{{model}}.h5ad",
    output:
        scores=f"{OUT}/benchmarks/cell_type_classification/{{dataset}}.{{model}}.tsv",
    log:
        f"{OUT}/logs/cell_type_classification/{{dataset}}.{{model}}.log",
    benchmark:
        f"{OUT}/benchmarks_timing/cell_type_classification/{{dataset}}.{{model}}.tsv"
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        section=benchmark_section("cell_type_classification"),
        run=RUN.run,
        seed=RUN.seed,
        version=BENCHMARKS_VERSION,
    shell:
        "wced score-cell-type-classification --embedding {input.embedding} --section {params.section:q}"
        " --run {params.run} --seed {params.seed} --output {output.scores} > {log} 2>&1"


rule zero_shot_annotation:
    input:
        unpack(annotation_inputs),
        embedding=f"{OUT}/embedding/{{dataset}}/{{model}}.h5ad",
    output:
        scores=f"{OUT}/benchmarks/zero_shot_annotation/{{dataset}}.{{model}}.tsv",
    log:
        f"{OUT}/logs/zero_shot_annotation/{{dataset}}.{{model}}.log",
    benchmark:
        f"{OUT}/benchmarks_timing/zero_shot_annotation/{{dataset}}.{{model}}.tsv"
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        section=benchmark_section("zero_shot_annotation"),
        predictions=annotation_options,
        run=RUN.run,
        seed=RUN.seed,
        version=BENCHMARKS_VERSION,
    shell:
        "wced score-zero-shot-annotation --embedding {input.embedding} {params.predictions}"
        " --section {params.section:q} --run {params.run} --seed {params.seed} --output {output.scores} > {log} 2>&1"


rule zero_shot_integration_table:
    input:
        scores=score_files("zero_shot_integration"),
    output:
        table=f"{OUT}/tables/zero_shot_integration.tsv",
    log:
        f"{OUT}/logs/zero_shot_integration_table/all.log",
    benchmark:
        f"{OUT}/benchmarks_timing/zero_shot_integration_table/all.tsv"
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "wced gather-scores {input.scores} --output {output.table} > {log} 2>&1"


use rule zero_shot_integration_table as cell_type_classification_table with:
    input:
        scores=score_files("cell_type_classification"),
    output:
        table=f"{OUT}/tables/cell_type_classification.tsv",
    log:
        f"{OUT}/logs/cell_type_classification_table/all.log",
    benchmark:
        f"{OUT}/benchmarks_timing/cell_type_classification_table/all.tsv"


use rule zero_shot_integration_table as zero_shot_annotation_table with:
    input:
        scores=score_files("zero_shot_annotation"),
    output:
        table=f"{OUT}/tables/zero_shot_annotation.tsv",
    log:
        f"{OUT}/logs/zero_shot_annotation_table/all.log",
    benchmark:
        f"{OUT}/benchmarks_timing/zero_shot_annotation_table/all.tsv"
