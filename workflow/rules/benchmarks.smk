# Scores of embeddings: one job per task, dataset and model, then one table per task.
from wced.benchmarks import FORMAT_VERSION as BENCHMARKS_VERSION


# A job is given its own dataset only, so that adding a dataset scores no other again.
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
        section=lambda wildcards: dump(
            RUN.benchmarks.zero_shot_integration.model_copy(update={"datasets": [wildcards.dataset]})
        ),
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
        section=lambda wildcards: dump(
            RUN.benchmarks.cell_type_classification.model_copy(update={"datasets": [wildcards.dataset]})
        ),
        run=RUN.run,
        seed=RUN.seed,
        version=BENCHMARKS_VERSION,
    shell:
        "wced score-cell-type-classification --embedding {input.embedding} --section {params.section:q}"
        " --run {params.run} --seed {params.seed} --output {output.scores} > {log} 2>&1"


rule zero_shot_annotation:
    input:
        embedding=f"{OUT}/embedding/{{dataset}}/{{model}}.h5ad",
        annotation=lambda wildcards: (
            f"{OUT}/embedding/{wildcards.dataset}/{wildcards.model}.annotation.parquet"
            if wildcards.model in ANNOTATED
            else []
        ),
        folder=lambda wildcards: ANNOTATED.get(wildcards.model, []),
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
        section=lambda wildcards: dump(
            RUN.benchmarks.zero_shot_annotation.model_copy(update={"datasets": [wildcards.dataset]})
        ),
        predictions=lambda wildcards, input: (
            f"--annotation {input.annotation} --ontology {input.folder}/model/ontology.json"
            if input.annotation
            else ""
        ),
        run=RUN.run,
        seed=RUN.seed,
        version=BENCHMARKS_VERSION,
    shell:
        "wced score-zero-shot-annotation --embedding {input.embedding} {params.predictions}"
        " --section {params.section:q} --run {params.run} --seed {params.seed} --output {output.scores} > {log} 2>&1"


rule zero_shot_integration_table:
    input:
        scores=expand(
            f"{OUT}/benchmarks/zero_shot_integration/{{dataset}}.{{model}}.tsv",
            dataset=RUN.benchmarks.zero_shot_integration.datasets,
            model=RUN.models,
        ),
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
        "wced gather {input.scores} --schema scores --output {output.table} > {log} 2>&1"


use rule zero_shot_integration_table as cell_type_classification_table with:
    input:
        scores=expand(
            f"{OUT}/benchmarks/cell_type_classification/{{dataset}}.{{model}}.tsv",
            dataset=RUN.benchmarks.cell_type_classification.datasets,
            model=RUN.models,
        ),
    output:
        table=f"{OUT}/tables/cell_type_classification.tsv",
    log:
        f"{OUT}/logs/cell_type_classification_table/all.log",
    benchmark:
        f"{OUT}/benchmarks_timing/cell_type_classification_table/all.tsv"


use rule zero_shot_integration_table as zero_shot_annotation_table with:
    input:
        scores=expand(
            f"{OUT}/benchmarks/zero_shot_annotation/{{dataset}}.{{model}}.tsv",
            dataset=RUN.benchmarks.zero_shot_annotation.datasets,
            model=RUN.models,
        ),
    output:
        table=f"{OUT}/tables/zero_shot_annotation.tsv",
    log:
        f"{OUT}/logs/zero_shot_annotation_table/all.log",
    benchmark:
        f"{OUT}/benchmarks_timing/zero_shot_annotation_table/all.tsv"
