# The page that shows a run, its figures, and the time of each job.
from pathlib import Path

from wced.report import FORMAT_VERSION as REPORT_VERSION

SCORE_FIGURES = [
    rules.score.output.figures.format(task=task, dataset=dataset, model=model)
    for task, section in TASKS.items()
    for dataset in section.datasets
    for model in RUN.models_of(task)
]
REPORTED_DATASETS = [*RUN.census.datasets, *RUN.embedding.datasets]


report: "../report/workflow.rst"


rule umap:
    input:
        embeddings=expand(f"{OUT}/embedding/{{{{dataset}}}}/{{model}}.h5ad", model=RUN.models),
    output:
        table=f"{OUT}/report/umap/{{dataset}}.parquet",
    log:
        f"{OUT}/logs/umap/{{dataset}}.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        section=lambda wildcards: dump(RUN.report, include={"umap_neighbours"}),
        seed=RUN.seed,
        version=REPORT_VERSION,
    shell:
        "wced umap {input.embeddings:q} --section {params.section:q} --seed {params.seed:q} --output {output.table:q}"
        " > {log:q} 2>&1"


rule figures:
    input:
        umaps=expand(rules.umap.output.table, dataset=RUN.embedding.datasets),
        folders=expand(rules.pretrain.output.folder, checkpoint=CHECKPOINTS),
        gene_errors=rules.learnability.output.gene_errors,
        qc=rules.cells.output.qc,
        histograms=rules.cells.output.histograms,
    output:
        figures=report(
            directory(f"{OUT}/report/figures"),
            caption="../report/figures.rst",
            category="Run",
            patterns=["{name}.svg"],
            labels={"figure": "{name}"},
        ),
    log:
        f"{OUT}/logs/figures/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        umaps=lambda wildcards, input: [f"--umap={path}" for path in input.umaps],
        metrics=lambda wildcards, input: [f"--metrics={folder}/metrics.tsv" for folder in input.folders],
        min_nonzero=RUN.learnability.min_nonzero,
        section=lambda wildcards: dump(RUN.report, include={"umap_neighbours"}),
        version=REPORT_VERSION,
    shell:
        "wced figures {params.umaps:q} {params.metrics:q} --gene-errors {input.gene_errors:q}"
        " --min-nonzero {params.min_nonzero:q} --qc {input.qc:q} --qc-histograms {input.histograms:q}"
        " --section {params.section:q} --output {output.figures:q} > {log:q} 2>&1"


# Read from the provenance of all outputs, which is complete once the tables and figures exist.
rule timings:
    input:
        scores=SCORE_TABLES,
        figures=rules.figures.output,
    output:
        table=report(f"{OUT}/tables/timings.tsv", caption="../report/timings.rst", category="Run"),
    log:
        f"{OUT}/logs/timings/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        folder=lambda wildcards, output: Path(output.table).parent.parent,
        version=REPORT_VERSION,
    shell:
        "wced timings --folder {params.folder:q} --output {output.table:q} > {log:q} 2>&1"


rule report:
    input:
        sources=expand(f"{OUT}/corpus/sources/{{dataset}}.h5ad", dataset=REPORTED_DATASETS),
        qc=rules.sources_qc.output.table,
        skipped=rules.skipped.output.table,
        cells=rules.cells.output,
        index=rules.shard_index.output.index,
        checkpoints=expand(rules.pretrain.output.folder, checkpoint=CHECKPOINTS),
        leakage=rules.leakage_table.output.table,
        scores=expand(f"{OUT}/tables/{{table}}.tsv", table=RUN.benchmarks.tables),
        score_figures=SCORE_FIGURES,
        comparison=rules.compare.output if TASKS else [],
        ablation=rules.ablation.output if RUN.ablation else [],
        published=sorted(Path(RUN.report.published).glob("*.tsv")),
        learnability=rules.learnability.output.ranked,
        summary=rules.learnability.output.summary,
        genes=rules.learnability.output.page,
        gene_figures=rules.learnability.output.figures,
        timings=rules.timings.output.table,
        figures=rules.figures.output,
    output:
        page=report(f"{OUT}/report/index.html", caption="../report/page.rst", category="Run"),
    log:
        f"{OUT}/logs/report/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        section=lambda wildcards: dump(RUN),
        folder=lambda wildcards, output: Path(output.page).parent.parent,
        version=REPORT_VERSION,
    shell:
        "wced report --folder {params.folder:q} --section {params.section:q} --output {output.page:q} > {log:q} 2>&1"
