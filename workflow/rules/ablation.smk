# What checkpoints that differ in stated factors do: reconstruction beside downstream scores, and paired tests.
from wced.benchmarks import FORMAT_VERSION as BENCHMARKS_VERSION


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
