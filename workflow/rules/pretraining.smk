# One job per checkpoint. Its training state stands outside the outputs, which Snakemake deletes when a job fails.
from wced.pretraining import FORMAT_VERSION as PRETRAINING_VERSION


rule pretrain:
    input:
        index=rules.shard_index.output.index,
        shards=SHARDS,
        vocabulary=rules.vocabulary.output.vocabulary,
        labels=rules.vocabulary.output.labels,
        measured=rules.vocabulary.output.measured,
    output:
        folder=directory(f"{OUT}/pretraining/{{checkpoint}}"),
    log:
        f"{OUT}/logs/pretrain/{{checkpoint}}.log",
    benchmark:
        f"{OUT}/benchmarks_timing/pretrain/{{checkpoint}}.tsv"
    priority: 10
    conda:
        "../../envs/wced.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=2880,
    params:
        section=checkpoint_section,
        state=f"{OUT}/state/{{checkpoint}}",
        seed=RUN.seed,
        version=PRETRAINING_VERSION,
    shell:
        "wced pretrain --index {input.index} --section {params.section:q} --name {wildcards.checkpoint}"
        " --state {params.state} --seed {params.seed} --output {output.folder} > {log} 2>&1"
