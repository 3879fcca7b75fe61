# Vectors of genes of every checkpoint, and what they say of the genes. Included when config has `benchmarks.gene_level`.
from pathlib import Path

from wced.benchmarks import FORMAT_VERSION as BENCHMARKS_VERSION
from wced.embedding import FORMAT_VERSION as EMBEDDING_VERSION

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
