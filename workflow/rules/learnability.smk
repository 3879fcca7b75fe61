# Which genes the checkpoints learned to predict, from the errors of every validation epoch.
from pathlib import Path

from wced.learnability import FORMAT_VERSION as LEARNABILITY_VERSION
from wced.learnability.analysis import MADE

# Tables of the analysis that no other rule reads by name.
LEARNABILITY_TABLES = [f"{OUT}/tables/{table.name}.tsv" for table in MADE[3:]]


rule learnability:
    input:
        folders=expand(rules.pretrain.output.folder, checkpoint=DECODING),
        annotation=rules.gene_annotation.output.genes if RUN.annotation else [],
    output:
        LEARNABILITY_TABLES,
        gene_errors=f"{OUT}/tables/gene_errors.tsv",
        ranked=report(
            f"{OUT}/tables/learnability.tsv", caption="../report/learnability.rst", category="Gene learnability"
        ),
        summary=report(
            f"{OUT}/tables/learnability_summary.tsv",
            caption="../report/learnability_summary.rst",
            category="Gene learnability",
        ),
        all_epochs=f"{OUT}/learnability/gene_errors.parquet",
        figures=report(
            directory(f"{OUT}/learnability/figures"),
            caption="../report/learnability_figures.rst",
            category="Gene learnability",
            patterns=["{name}.svg"],
            labels={"figure": "{name}"},
        ),
        page=report(f"{OUT}/report/genes.html", caption="../report/genes.rst", category="Gene learnability"),
    log:
        f"{OUT}/logs/learnability/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        section=lambda wildcards: dump(RUN.learnability),
        annotation=lambda wildcards, input: option("annotation", input.annotation),
        tables=lambda wildcards, output: Path(output.ranked).parent,
        run=RUN.run,
        seed=RUN.seed,
        version=LEARNABILITY_VERSION,
    shell:
        "wced learnability {input.folders:q} {params.annotation:q} --section {params.section:q} --run {params.run:q}"
        " --seed {params.seed:q} --all-epochs {output.all_epochs:q} --tables {params.tables:q} --figures"
        " {output.figures:q} --page {output.page:q} > {log:q} 2>&1"
