# Memory-mapped Arrow files of raw counts, one job each.
from wced.shards import FORMAT_VERSION as SHARDS_VERSION

SHARDS = expand(f"{OUT}/shards/shard-{{shard}}.arrow", shard=[f"{i:05d}" for i in range(RUN.shards.count)])


rule vocabulary:
    input:
        genes=rules.gene_table.output.genes,
        cells=rules.cells.output.cells,
        collection=COLLECTION,
    output:
        **({"gene_filter": f"{OUT}/shards/gene_filter.tsv"} if RUN.shards.genes.active else {}),
        vocabulary=f"{OUT}/shards/vocabulary.tsv",
        labels=f"{OUT}/shards/labels.json",
        measured=f"{OUT}/shards/measured.arrow",
    log:
        f"{OUT}/logs/vocabulary/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        census=lambda wildcards: dump(RUN.census),
        # Neither the number of shards nor the size of record batches changes what this makes.
        section=lambda wildcards: dump(RUN.shards, exclude={"count", "batch_cells"}),
        seed=RUN.seed,
        collection=lambda wildcards, input: option("collection", input.collection),
        version=SHARDS_VERSION,
    shell:
        "wced vocabulary --genes {input.genes:q} --cells {input.cells:q} --census {params.census:q}"
        " {params.collection:q} --section {params.section:q} --seed {params.seed:q} --output {output.vocabulary:q} >"
        " {log:q} 2>&1"


rule shard:
    input:
        cells=rules.cells.output.cells,
        collection=COLLECTION,
        vocabulary=rules.vocabulary.output.vocabulary,
        labels=rules.vocabulary.output.labels,
        measured=rules.vocabulary.output.measured,
    output:
        shard=f"{OUT}/shards/shard-{{shard}}.arrow",
    log:
        f"{OUT}/logs/shard/{{shard}}.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        census=lambda wildcards: dump(RUN.census),
        collection=lambda wildcards, input: option("collection", input.collection),
        section=lambda wildcards: dump(RUN.shards),
        number=lambda wildcards: int(wildcards.shard),
        version=SHARDS_VERSION,
    shell:
        "wced shard --cells {input.cells:q} --vocabulary {input.vocabulary:q} --census {params.census:q}"
        " {params.collection:q} --section {params.section:q} --number {params.number:q} --output {output.shard:q}"
        " > {log:q} 2>&1"


rule shard_index:
    input:
        shards=SHARDS,
        cells=rules.cells.output.cells,
        vocabulary=rules.vocabulary.output.vocabulary,
        labels=rules.vocabulary.output.labels,
        measured=rules.vocabulary.output.measured,
    output:
        index=f"{OUT}/shards/index.json",
    log:
        f"{OUT}/logs/shard_index/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        version=SHARDS_VERSION,
    shell:
        "wced shard-index {input.shards:q} --cells {input.cells:q} --vocabulary {input.vocabulary:q} --output"
        " {output.index:q} > {log:q} 2>&1"
