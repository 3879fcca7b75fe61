# One job per checkpoint. Its training state is outside the outputs, which Snakemake deletes when a job fails.
from wced.pretraining import FORMAT_VERSION as PRETRAINING_VERSION


rule pretrain:
    input:
        index=rules.shard_index.output.index,
        shards=SHARDS,
        vocabulary=rules.vocabulary.output.vocabulary,
        labels=rules.vocabulary.output.labels,
        measured=rules.vocabulary.output.measured,
        extended=extended,
    output:
        folder=directory(f"{OUT}/pretraining/{{checkpoint}}"),
    log:
        f"{OUT}/logs/pretrain/{{checkpoint}}.log",
    priority: 10
    conda:
        "../../envs/wced.yaml"
    # A core for each process and each thread that makes batches.
    threads: RUN.pretraining.devices * (1 + RUN.pretraining.workers)
    resources:
        mem_mb=8000,
        runtime=2880,
        # Where there are no GPUs, the processes train on the CPU.
        gpu=RUN.pretraining.devices,
        nodes=1,
    params:
        section=checkpoint_section,
        state=f"{OUT}/state/{{checkpoint}}",
        seed=RUN.seed,
        version=PRETRAINING_VERSION,
    # exec: a cluster sends SIGTERM to all processes of a job, and a shell between would end before the training has
    # saved its state.
    shell:
        "exec wced pretrain --index {input.index:q} --section {params.section:q} --name {wildcards.checkpoint:q}"
        " --state {params.state:q} --seed {params.seed:q} --nodes {resources.nodes:q} --output {output.folder:q} >"
        " {log:q} 2>&1"
