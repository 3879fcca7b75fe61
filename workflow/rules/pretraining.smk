# One job per checkpoint. Its training state stands outside the outputs, which Snakemake deletes when a job fails.
from wced.pretraining import FORMAT_VERSION as PRETRAINING_VERSION


def checkpoint_section(wildcards):
    """Return the pretraining section with this checkpoint only, so that editing one retrains no other."""
    name = wildcards.checkpoint
    return dump(RUN.pretraining.model_copy(update={"checkpoints": {name: RUN.pretraining.checkpoints[name]}}))


rule pretrain:
    input:
        index=rules.shard_index.output.index,
        shards=SHARDS,
        vocabulary=rules.vocabulary.output.vocabulary,
        labels=rules.vocabulary.output.labels,
        measured=rules.vocabulary.output.measured,
    output:
        folder=directory(f"{OUT}/pretraining/{{checkpoint}}"),
    params:
        section=checkpoint_section,
        shards=f"{OUT}/shards",
        state=f"{OUT}/state/{{checkpoint}}",
        seed=RUN.seed,
        version=PRETRAINING_VERSION,
    log:
        f"{OUT}/logs/pretrain/{{checkpoint}}.log",
    benchmark:
        f"{OUT}/benchmarks_timing/pretrain/{{checkpoint}}.tsv"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=2880,
    conda:
        "../../envs/wced.yaml"
    shell:
        "wced pretrain --shards {params.shards} --section {params.section:q} --name {wildcards.checkpoint}"
        " --state {params.state} --seed {params.seed} --output {output.folder} > {log} 2>&1"
