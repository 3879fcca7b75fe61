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
        census=dump(RUN.census),
        # Neither the number of shards nor the size of record batches changes what this makes.
        section=RUN.shards.model_dump_json(exclude={"count", "batch_cells"}),
        seed=RUN.seed,
        collection=lambda wildcards, input: f"--collection {input.collection}" if input.collection else "",
        version=SHARDS_VERSION,
    shell:
        "wced vocabulary --genes {input.genes} --cells {input.cells} --census {params.census:q} {params.collection}"
        " --section {params.section:q} --seed {params.seed} --output {output.vocabulary} > {log} 2>&1"


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
        census=dump(RUN.census),
        collection=lambda wildcards, input: f"--collection {input.collection}" if input.collection else "",
        section=dump(RUN.shards),
        number=lambda wildcards: int(wildcards.shard),
        version=SHARDS_VERSION,
    shell:
        "wced shard --cells {input.cells} --vocabulary {input.vocabulary} --census {params.census:q}"
        " {params.collection} --section {params.section:q} --number {params.number} --output {output.shard}"
        " > {log} 2>&1"


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
        "wced shard-index {input.shards} --cells {input.cells} --vocabulary {input.vocabulary} --output {output.index}"
        " > {log} 2>&1"
