# Which genes the checkpoints learned to predict, from the errors of every validation epoch.
from wced.learnability import FORMAT_VERSION as LEARNABILITY_VERSION


rule learnability:
    input:
        folders=expand(rules.pretrain.output.folder, checkpoint=DECODING),
    output:
        all_epochs=f"{OUT}/learnability/gene_errors.parquet",
        gene_errors=f"{OUT}/tables/gene_errors.tsv",
        ranked=f"{OUT}/tables/learnability.tsv",
        summary=f"{OUT}/tables/learnability_summary.tsv",
    log:
        f"{OUT}/logs/learnability/all.log",
    benchmark:
        f"{OUT}/benchmarks_timing/learnability/all.tsv"
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        errors=lambda wildcards, input: [f"{folder}/gene_errors.parquet" for folder in input.folders],
        section=dump(RUN.learnability),
        version=LEARNABILITY_VERSION,
    shell:
        "wced learnability {params.errors} --section {params.section:q} --all-epochs {output.all_epochs}"
        " --gene-errors {output.gene_errors} --ranked {output.ranked} --summary {output.summary} > {log} 2>&1"
