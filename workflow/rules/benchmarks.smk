# Scores of embeddings: one rule for all benchmarks, one job per benchmark, dataset and model.
from wced.benchmarks import FORMAT_VERSION as BENCHMARKS_VERSION


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
