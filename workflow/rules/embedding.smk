# Embeddings of held-out datasets: by checkpoints, by all of them together, by an untrained encoder, by baselines.
from wced.embedding import FORMAT_VERSION as EMBEDDING_VERSION

# The config is refused when a held-out dataset is part of the corpus; cells are compared by dataset id only.
HELD_OUT = "none (dataset held out, by dataset id)"


rule embed:
    input:
        h5ad=rules.source.output.h5ad,
        folder=rules.pretrain.output.folder,
    output:
        h5ad=f"{OUT}/embedding/{{dataset}}/{{checkpoint}}.h5ad",
    log:
        f"{OUT}/logs/embed/{{dataset}}.{{checkpoint}}.log",
    benchmark:
        f"{OUT}/benchmarks_timing/embed/{{dataset}}.{{checkpoint}}.tsv"
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        leakage=HELD_OUT,
        batch_size=RUN.embedding.batch_size,
        version=EMBEDDING_VERSION,
    shell:
        "wced embed --input {input.h5ad} --checkpoint {input.folder}/model --output {output.h5ad}"
        " --model {wildcards.checkpoint} --dataset {wildcards.dataset}"
        " --leakage {params.leakage:q} --batch-size {params.batch_size} > {log} 2>&1"


rule embed_untrained:
    input:
        h5ad=rules.source.output.h5ad,
        folder=f"{OUT}/pretraining/{RUN.embedding.untrained}",
    output:
        h5ad=f"{OUT}/embedding/{{dataset}}/untrained.h5ad",
    log:
        f"{OUT}/logs/embed_untrained/{{dataset}}.log",
    benchmark:
        f"{OUT}/benchmarks_timing/embed_untrained/{{dataset}}.tsv"
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        batch_size=RUN.embedding.batch_size,
        seed=RUN.seed,
        version=EMBEDDING_VERSION,
    shell:
        "wced embed --untrained --input {input.h5ad} --checkpoint {input.folder}/model --output {output.h5ad}"
        " --model untrained --dataset {wildcards.dataset} --leakage none --batch-size {params.batch_size}"
        " --seed {params.seed} > {log} 2>&1"


rule annotate:
    input:
        h5ad=rules.source.output.h5ad,
        folder=lambda wildcards: ANNOTATED[wildcards.model],
    output:
        annotation=f"{OUT}/embedding/{{dataset}}/{{model}}.annotation.parquet",
    log:
        f"{OUT}/logs/annotate/{{dataset}}.{{model}}.log",
    benchmark:
        f"{OUT}/benchmarks_timing/annotate/{{dataset}}.{{model}}.tsv"
    wildcard_constraints:
        model="|".join(ANNOTATED) or "none",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        untrained=lambda wildcards: "--untrained" if wildcards.model == "untrained" else "",
        batch_size=RUN.embedding.batch_size,
        seed=RUN.seed,
        version=EMBEDDING_VERSION,
    shell:
        "wced annotate --input {input.h5ad} --checkpoint {input.folder}/model {params.untrained}"
        " --output {output.annotation} --batch-size {params.batch_size} --seed {params.seed} > {log} 2>&1"


rule concat:
    input:
        parts=expand(f"{OUT}/embedding/{{{{dataset}}}}/{{checkpoint}}.h5ad", checkpoint=RUN.embedding.concat),
    output:
        h5ad=f"{OUT}/embedding/{{dataset}}/concat.h5ad",
    log:
        f"{OUT}/logs/concat/{{dataset}}.log",
    benchmark:
        f"{OUT}/benchmarks_timing/concat/{{dataset}}.tsv"
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        version=EMBEDDING_VERSION,
    shell:
        "wced concat {input.parts} --output {output.h5ad} --model concat > {log} 2>&1"


rule embed_baseline:
    input:
        h5ad=rules.source.output.h5ad,
    output:
        h5ad=f"{OUT}/embedding/{{dataset}}/{{baseline}}.h5ad",
    log:
        f"{OUT}/logs/embed_baseline/{{dataset}}.{{baseline}}.log",
    benchmark:
        f"{OUT}/benchmarks_timing/embed_baseline/{{dataset}}.{{baseline}}.tsv"
    wildcard_constraints:
        baseline="hvg|pca",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        section=dump(RUN.embedding),
        seed=RUN.seed,
        version=EMBEDDING_VERSION,
    shell:
        "wced embed-baseline --input {input.h5ad} --section {params.section:q} --model {wildcards.baseline}"
        " --dataset {wildcards.dataset} --seed {params.seed} --output {output.h5ad} > {log} 2>&1"
