# Embeddings of held-out datasets: by checkpoints, by their weights at step 0, by all of them together, by untrained
# encoders, by baselines, and from elsewhere; and whether their cells were part of the corpus.
from pathlib import Path

from wced.embedding import FORMAT_VERSION as EMBEDDING_VERSION

# Checkpoint and words of each embedding by a checkpoint; without words it is read as the checkpoint itself says.
READOUTS = {name: (name, []) for name in CHECKPOINTS}
READOUTS |= {name: (readout.checkpoint, readout.pooling) for name, readout in RUN.embedding.readouts.items()}
READOUTS |= {name: (checkpoint, []) for name, checkpoint in RUN.embedding.step_0_models.items()}
READOUTS |= {name: (RUN.embedding.untrained, []) for name in RUN.embedding.untrained_models}


rule joinids:
    input:
        cells=rules.cells.output.cells,
        collection=COLLECTION,
    output:
        joinids=f"{OUT}/corpus/joinids.parquet",
    log:
        f"{OUT}/logs/joinids/all.log",
    conda:
        "../../envs/wced.yaml"
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        census=lambda wildcards: dump(RUN.census),
        collection=lambda wildcards, input: option("collection", input.collection),
        version=EMBEDDING_VERSION,
    shell:
        "wced joinids --cells {input.cells:q} --census {params.census:q} {params.collection:q} --output"
        " {output.joinids:q} > {log:q} 2>&1"


rule leakage:
    input:
        h5ad=rules.source.output.h5ad,
        shards=SHARDS,
        index=rules.shard_index.output.index,
        joinids=rules.joinids.output.joinids,
    output:
        table=f"{OUT}/embedding/{{dataset}}/leakage.tsv",
    log:
        f"{OUT}/logs/leakage/{{dataset}}.log",
    conda:
        "../../envs/wced.yaml"
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        shards=lambda wildcards, input: Path(input.index).parent,
        role=lambda wildcards: DATASETS[wildcards.dataset].role,
        version=EMBEDDING_VERSION,
    shell:
        "wced leakage --input {input.h5ad:q} --shards {params.shards:q} --joinids {input.joinids:q}"
        " --dataset {wildcards.dataset:q} --role {params.role:q} --output {output.table:q} > {log:q} 2>&1"


rule leakage_table:
    input:
        tables=expand(rules.leakage.output.table, dataset=RUN.embedding.datasets),
    output:
        table=report(f"{OUT}/tables/leakage.tsv", caption="../report/leakage.rst", category="Embedding"),
    log:
        f"{OUT}/logs/leakage_table/all.log",
    conda:
        "../../envs/wced.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        version=EMBEDDING_VERSION,
    shell:
        "wced gather {input.tables:q} --schema leakage --output {output.table:q} > {log:q} 2>&1"


rule embed:
    input:
        h5ad=rules.source.output.h5ad,
        folder=lambda wildcards: f"{OUT}/pretraining/{READOUTS[wildcards.model][0]}",
        leakage=lambda wildcards: (
            []
            if wildcards.model in RUN.embedding.untrained_models
            else rules.leakage.output.table.format(dataset=wildcards.dataset)
        ),
    output:
        h5ad=f"{OUT}/embedding/{{dataset}}/{{model}}.h5ad",
    log:
        f"{OUT}/logs/embed/{{dataset}}.{{model}}.log",
    wildcard_constraints:
        model="|".join(READOUTS),
    conda:
        "../../envs/wced.yaml"
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        weights=lambda wildcards: weights(wildcards.model),
        genes=min_gene_share,
        pooling=lambda wildcards: [f"--pooling={word}" for word in READOUTS[wildcards.model][1]],
        seen=lambda wildcards, input: (
            [f"--leakage-table={input.leakage}"]
            if input.leakage
            else ["--untrained", "--leakage=none", f"--seed={untrained_seed(wildcards.model)}"]
        ),
        batch_size=RUN.embedding.batch_size,
        version=EMBEDDING_VERSION,
    shell:
        "wced embed --input {input.h5ad:q} --checkpoint {input.folder:q}/{params.weights:q} --output {output.h5ad:q}"
        " --model {wildcards.model:q} --dataset {wildcards.dataset:q} {params.genes:q} {params.pooling:q}"
        " {params.seen:q} --batch-size {params.batch_size:q} > {log:q} 2>&1"


rule annotate:
    input:
        h5ad=rules.source.output.h5ad,
        folder=lambda wildcards: ANNOTATED[wildcards.model],
    output:
        annotation=f"{OUT}/embedding/{{dataset}}/{{model}}.annotation.parquet",
    log:
        f"{OUT}/logs/annotate/{{dataset}}.{{model}}.log",
    wildcard_constraints:
        model="|".join(ANNOTATED) or "none",
    conda:
        "../../envs/wced.yaml"
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        weights=lambda wildcards: weights(wildcards.model),
        genes=min_gene_share,
        untrained=lambda wildcards: ["--untrained"] if wildcards.model in RUN.embedding.untrained_models else [],
        batch_size=RUN.embedding.batch_size,
        seed=lambda wildcards: untrained_seed(wildcards.model),
        version=EMBEDDING_VERSION,
    shell:
        "wced annotate --input {input.h5ad:q} --checkpoint {input.folder:q}/{params.weights:q} --probabilities"
        " {params.genes:q} {params.untrained:q} --output {output.annotation:q} --batch-size {params.batch_size:q}"
        " --seed {params.seed:q} > {log:q} 2>&1"


rule concat:
    input:
        parts=expand(f"{OUT}/embedding/{{{{dataset}}}}/{{checkpoint}}.h5ad", checkpoint=RUN.embedding.concat),
    output:
        h5ad=f"{OUT}/embedding/{{dataset}}/concat.h5ad",
    log:
        f"{OUT}/logs/concat/{{dataset}}.log",
    conda:
        "../../envs/wced.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        version=EMBEDDING_VERSION,
    shell:
        "wced concat {input.parts:q} --output {output.h5ad:q} --model concat > {log:q} 2>&1"


rule fit_corpus_pca:
    input:
        shards=SHARDS,
        index=rules.shard_index.output.index,
    output:
        components=f"{OUT}/embedding/corpus_pca.npz",
    log:
        f"{OUT}/logs/fit_corpus_pca/all.log",
    conda:
        "../../envs/wced.yaml"
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        shards=lambda wildcards, input: Path(input.index).parent,
        section=baseline_section,
        seed=RUN.seed,
        version=EMBEDDING_VERSION,
    shell:
        "wced fit-corpus-pca --shards {params.shards:q} --section {params.section:q} --seed {params.seed:q}"
        " --output {output.components:q} > {log:q} 2>&1"


rule embed_baseline:
    input:
        h5ad=rules.source.output.h5ad,
        # The one that is fitted on the corpus.
        components=lambda wildcards: (
            rules.fit_corpus_pca.output.components if wildcards.baseline == "corpus_pca" else []
        ),
        leakage=lambda wildcards: (
            rules.leakage.output.table.format(dataset=wildcards.dataset) if wildcards.baseline == "corpus_pca" else []
        ),
    output:
        h5ad=f"{OUT}/embedding/{{dataset}}/{{baseline}}.h5ad",
    log:
        f"{OUT}/logs/embed_baseline/{{dataset}}.{{baseline}}.log",
    wildcard_constraints:
        baseline="|".join(RUN.embedding.baselines) or "none",
    conda:
        "../../envs/wced.yaml"
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        section=baseline_section,
        corpus=lambda wildcards, input: (
            [f"--corpus={input.components}", f"--leakage-table={input.leakage}"] if input.components else []
        ),
        seed=RUN.seed,
        version=EMBEDDING_VERSION,
    shell:
        "wced embed-baseline --input {input.h5ad:q} --section {params.section:q} --model {wildcards.baseline:q}"
        " --dataset {wildcards.dataset:q} {params.corpus:q} --seed {params.seed:q} --output {output.h5ad:q} > {log:q}"
        " 2>&1"


rule embed_external:
    input:
        h5ad=rules.source.output.h5ad,
        embeddings=lambda wildcards: RUN.embedding.external[wildcards.external].path(wildcards.dataset),
    output:
        h5ad=f"{OUT}/embedding/{{dataset}}/{{external}}.h5ad",
    log:
        f"{OUT}/logs/embed_external/{{dataset}}.{{external}}.log",
    wildcard_constraints:
        external="|".join(RUN.embedding.external) or "none",
    conda:
        "../../envs/wced.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        section=lambda wildcards: dump(RUN.embedding.external[wildcards.external]),
        version=EMBEDDING_VERSION,
    shell:
        "wced embed-external --input {input.h5ad:q} --section {params.section:q} --model {wildcards.external:q}"
        " --dataset {wildcards.dataset:q} --output {output.h5ad:q} > {log:q} 2>&1"
