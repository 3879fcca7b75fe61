# Scores of embeddings: one rule for all benchmarks, one job per benchmark, dataset and model.
from wced.benchmarks import FORMAT_VERSION as BENCHMARKS_VERSION
from wced.embedding import FORMAT_VERSION as EMBEDDING_VERSION


# Shared by benchmarks.
rule neighbours:
    input:
        embedding=f"{OUT}/embedding/{{dataset}}/{{model}}.h5ad",
    output:
        neighbours=f"{OUT}/embedding/{{dataset}}/{{model}}.neighbours.npz",
    log:
        f"{OUT}/logs/neighbours/{{dataset}}.{{model}}.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        nearest=RUN.benchmarks.neighbours,
        seed=RUN.seed,
        cluster_seeds=RUN.benchmarks.cluster_seeds,
        version=BENCHMARKS_VERSION,
    shell:
        "wced neighbours --embedding {input.embedding:q} --count {params.nearest:q} --seed {params.seed:q}"
        " --cluster-seeds {params.cluster_seeds:q} --output {output.neighbours:q} > {log:q} 2>&1"


# A job is given its own dataset only, so that adding a dataset scores no other again.
rule score:
    input:
        unpack(score_inputs),
    output:
        scores=f"{OUT}/benchmarks/{{task}}/{{dataset}}.{{model}}.tsv",
        figures=report(
            directory(f"{OUT}/benchmarks/{{task}}/{{dataset}}.{{model}}.figures"),
            caption="../report/score_figures.rst",
            category="Benchmarks",
            subcategory="{task}",
            patterns=["{name}.svg"],
            labels={"dataset": "{dataset}", "model": "{model}", "figure": "{name}"},
        ),
    log:
        f"{OUT}/logs/score/{{task}}.{{dataset}}.{{model}}.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards: TASKS[wildcards.task].mem_mb,
        runtime=240,
    params:
        # The folder of a checkpoint holds the model beside its metrics.
        given=lambda wildcards, input: [
            f"--{name}={path}/{weights(wildcards.model)}" if name == "checkpoint" else f"--{name}={path}"
            for name, path in input.items()
        ],
        section=lambda wildcards: dump(TASKS[wildcards.task].model_copy(update={"datasets": [wildcards.dataset]})),
        run=RUN.run,
        seed=RUN.seed,
        version=BENCHMARKS_VERSION,
    shell:
        "wced score {wildcards.task:q} {params.given:q} --section {params.section:q} --run {params.run:q}"
        " --seed {params.seed:q} --output {output.scores:q} --figures {output.figures:q} > {log:q} 2>&1"


rule score_table:
    input:
        scores=lambda wildcards: expand(
            rules.score.output.scores,
            task=wildcards.task,
            dataset=TASKS[wildcards.task].datasets,
            model=RUN.models_of(wildcards.task),
        ),
    output:
        table=report(
            f"{OUT}/tables/{{task}}.tsv", caption="../report/scores.rst", category="Benchmarks", subcategory="{task}"
        ),
    log:
        f"{OUT}/logs/score_table/{{task}}.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "wced gather {input.scores:q} --schema scores --output {output.table:q} > {log:q} 2>&1"


SCORE_TABLES = expand(rules.score_table.output.table, task=TASKS)


rule compare:
    input:
        scores=SCORE_TABLES,
    output:
        differences=report(f"{OUT}/tables/comparisons.tsv", caption="../report/comparisons.rst", category="Comparisons"),
        ranking=report(f"{OUT}/tables/ranking.tsv", caption="../report/ranking.rst", category="Comparisons"),
        figures=report(
            directory(f"{OUT}/benchmarks/comparison.figures"),
            caption="../report/comparison_figures.rst",
            category="Comparisons",
            patterns=["{name}.svg"],
            labels={"figure": "{name}"},
        ),
    log:
        f"{OUT}/logs/compare/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        version=BENCHMARKS_VERSION,
    shell:
        "wced compare {input.scores:q} --differences {output.differences:q} --ranking {output.ranking:q}"
        " --figures {output.figures:q} > {log:q} 2>&1"


# Vectors of genes of every checkpoint, and what they say of the genes.
if RUN.benchmarks.gene_level is not None:

    # As `wced.embedding.gene_vectors` names them.
    GENE_MODELS = [
        *CHECKPOINTS,
        *(f"{name}_decoder" for name, trained in RUN.pretraining.checkpoints.items() if trained.wced),
        *RUN.embedding.step_0_models,
        "untrained",
        "random",
        "coexpression_pca",
        "frequency",
    ]

    rule gene_embeddings:
        input:
            folders=expand(rules.pretrain.output.folder, checkpoint=CHECKPOINTS),
            index=rules.shard_index.output.index,
            shards=SHARDS,
            components=rules.fit_corpus_pca.output.components,
            annotation=rules.gene_annotation.output.genes,
        output:
            folder=directory(f"{OUT}/gene_embeddings"),
        log:
            f"{OUT}/logs/gene_embeddings/all.log",
        conda:
            "../../envs/wced.yaml"
        threads: 1
        resources:
            mem_mb=8000,
            runtime=120,
        params:
            shards=lambda wildcards, input: Path(input.index).parent,
            step_0=[f"--step-0={OUT}/pretraining/{name}" for name in RUN.embedding.step_0],
            seed=RUN.seed,
            version=EMBEDDING_VERSION,
        shell:
            "wced gene-embeddings {input.folders:q} {params.step_0:q} --shards {params.shards:q} --components"
            " {input.components:q} --annotation {input.annotation:q} --seed {params.seed:q} --output {output.folder:q} >"
            " {log:q} 2>&1"

    rule gene_level:
        input:
            folder=rules.gene_embeddings.output.folder,
        output:
            table=report(
                f"{OUT}/tables/gene_level.tsv",
                caption="../report/gene_level.rst",
                category="Benchmarks",
                subcategory="gene_level",
            ),
        log:
            f"{OUT}/logs/gene_level/all.log",
        conda:
            "../../envs/wced.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=120,
        params:
            embeddings=lambda wildcards, input: [f"{input.folder}/{model}.h5ad" for model in GENE_MODELS],
            section=lambda wildcards: dump(RUN.benchmarks.gene_level),
            run=RUN.run,
            seed=RUN.seed,
            version=BENCHMARKS_VERSION,
        shell:
            "wced score-genes {params.embeddings:q} --section {params.section:q} --run {params.run:q} --seed"
            " {params.seed:q} --output {output.table:q} > {log:q} 2>&1"


# What checkpoints that differ in stated factors do: reconstruction beside downstream scores, and paired tests.
if RUN.ablation is not None:

    rule ablation:
        input:
            scores=expand(f"{OUT}/tables/{{task}}.tsv", task=RUN.ablation.metrics),
            folders=expand(rules.pretrain.output.folder, checkpoint=RUN.ablation.checkpoints),
        output:
            table=report(f"{OUT}/tables/ablation.tsv", caption="../report/ablation.rst", category="Ablation"),
            effects=report(
                f"{OUT}/tables/ablation_effects.tsv", caption="../report/ablation_effects.rst", category="Ablation"
            ),
            figures=report(
                directory(f"{OUT}/ablation"),
                caption="../report/ablation_figures.rst",
                category="Ablation",
                patterns=["{name}.svg"],
                labels={"figure": "{name}"},
            ),
        log:
            f"{OUT}/logs/ablation/all.log",
        conda:
            "../../envs/wced.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            folders=lambda wildcards, input: [f"--pretrained={folder}" for folder in input.folders],
            section=lambda wildcards: dump(RUN.ablation),
            run=RUN.run,
            seed=RUN.seed,
            version=BENCHMARKS_VERSION,
        shell:
            "wced ablation {input.scores:q} {params.folders:q} --section {params.section:q} --run {params.run:q}"
            " --seed {params.seed:q} --output {output.table:q} --effects {output.effects:q} --figures {output.figures:q}"
            " > {log:q} 2>&1"
