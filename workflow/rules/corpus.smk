# Archives, the gene table, harmonised datasets, the Census and the selected cells.
import json
import re

from wced.corpus import FORMAT_VERSION as CORPUS_VERSION
from wced.archives import archive_file, local_files
from wced.corpus.datasets import HUMAN

# Every file that an archive of the index holds, by the name under which the archive is kept.
MEMBERS = [RUN.genes.gencode, RUN.genes.hgnc, RUN.sources.orthologs]
MEMBERS += [member for row in DATASETS.values() for member in (row.file, row.labels) if member is not None]
MEMBERS += RUN.annotation.references.values() if RUN.annotation else []
ARCHIVES = {archive_file(member.archive): member for member in MEMBERS if member.archive is not None}

# The collection that this run builds; nothing where it reads one that exists.
COLLECTION = f"{OUT}/corpus/census" if RUN.census.datasets else []


rule archive:
    output:
        archive=f"{RUN.sources.archives}/{{archive}}",
    log:
        f"{OUT}/logs/archive/{{archive}}.log",
    wildcard_constraints:
        archive="|".join(map(re.escape, ARCHIVES)) or "none",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        archive=lambda wildcards: ARCHIVES[wildcards.archive].archive,
        sha256=lambda wildcards: ARCHIVES[wildcards.archive].sha256,
    shell:
        "wced download --archive {params.archive:q} --sha256 {params.sha256:q} --output {output.archive:q} > {log:q}"
        " 2>&1"


rule gene_table:
    input:
        gencode=local_files(RUN.genes.gencode, RUN.sources.archives),
        hgnc=local_files(RUN.genes.hgnc, RUN.sources.archives),
    output:
        genes=f"{OUT}/corpus/genes.parquet",
    log:
        f"{OUT}/logs/gene_table/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        section=lambda wildcards: dump(RUN.genes),
        version=CORPUS_VERSION,
    shell:
        "wced gene-table --section {params.section:q} --gencode {input.gencode:q} --hgnc {input.hgnc:q}"
        " --output {output.genes:q} > {log:q} 2>&1"


rule source:
    input:
        files=lambda wildcards: local_files(DATASETS[wildcards.dataset].file, RUN.sources.archives),
        labels=lambda wildcards: (
            local_files(DATASETS[wildcards.dataset].labels, RUN.sources.archives)
            if DATASETS[wildcards.dataset].labels
            else []
        ),
        names=lambda wildcards: (
            RUN.sources.cell_type_names if DATASETS[wildcards.dataset].cell_type_kind == "name" else []
        ),
        orthologs=lambda wildcards: (
            local_files(RUN.sources.orthologs, RUN.sources.archives)
            if DATASETS[wildcards.dataset].species != HUMAN
            else []
        ),
        genes=rules.gene_table.output.genes,
    output:
        h5ad=f"{OUT}/corpus/sources/{{dataset}}.h5ad",
        qc=f"{OUT}/corpus/sources/{{dataset}}.qc.tsv",
        terms=f"{OUT}/corpus/sources/{{dataset}}.terms.tsv",
    log:
        f"{OUT}/logs/source/{{dataset}}.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        section=lambda wildcards: dump(DATASETS[wildcards.dataset]),
        archives=RUN.sources.archives,
        names=lambda wildcards, input: option("names", input.names),
        orthologs=lambda wildcards, input: (
            [f"--homologs={dump(RUN.sources.orthologs)}", f"--orthologs={input.orthologs}"] if input.orthologs else []
        ),
        min_mapped_genes=RUN.sources.min_mapped_genes,
        version=CORPUS_VERSION,
    shell:
        "wced source --section {params.section:q} --archives {params.archives:q} {params.names:q}"
        " {params.orthologs:q} --genes {input.genes:q} --min-mapped-genes {params.min_mapped_genes:q}"
        " --output {output.h5ad:q} --qc {output.qc:q} > {log:q} 2>&1"


rule sources_qc:
    input:
        qc=expand(rules.source.output.qc, dataset=[*RUN.census.datasets, *RUN.embedding.datasets]),
        terms=expand(rules.source.output.terms, dataset=[*RUN.census.datasets, *RUN.embedding.datasets]),
    output:
        table=report(f"{OUT}/tables/sources_qc.tsv", caption="../report/sources.rst", category="Corpus"),
        terms=report(f"{OUT}/tables/sources_terms.tsv", caption="../report/sources_terms.rst", category="Corpus"),
    log:
        f"{OUT}/logs/sources_qc/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        version=CORPUS_VERSION,
    shell:
        "wced gather {input.qc:q} --schema sources_qc --output {output.table:q} > {log:q} 2>&1 &&"
        " wced gather {input.terms:q} --schema sources_terms --output {output.terms:q} >> {log:q} 2>&1"


rule skipped:
    output:
        table=report(f"{OUT}/tables/skipped.tsv", caption="../report/skipped.rst", category="Corpus"),
    log:
        f"{OUT}/logs/skipped/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        rows=lambda wildcards: argument(json.dumps(SKIPPED)),
        version=CORPUS_VERSION,
    shell:
        "wced skipped --rows {params.rows:q} --output {output.table:q} > {log:q} 2>&1"


rule census:
    input:
        sources=expand(rules.source.output.h5ad, dataset=RUN.census.datasets),
    output:
        collection=directory(f"{OUT}/corpus/census"),
    log:
        f"{OUT}/logs/census/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        organism=RUN.census.organism,
        version=CORPUS_VERSION,
    shell:
        "wced census {input.sources:q} --organism {params.organism:q} --output {output.collection:q} > {log:q} 2>&1"


rule cells:
    input:
        collection=COLLECTION,
    output:
        cells=f"{OUT}/corpus/cells.parquet",
        table=report(f"{OUT}/tables/corpus.tsv", caption="../report/corpus.rst", category="Corpus"),
        qc=report(f"{OUT}/tables/qc.tsv", caption="../report/qc.rst", category="Corpus"),
        histograms=f"{OUT}/tables/qc_histograms.tsv",
        sampling=f"{OUT}/tables/sampling.tsv",
        split=f"{OUT}/tables/split.tsv",
        exceptions=f"{OUT}/tables/split_exceptions.tsv",
    log:
        f"{OUT}/logs/cells/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        section=lambda wildcards: dump(RUN.cells),
        census=lambda wildcards: dump(RUN.census),
        collection=lambda wildcards, input: option("collection", input.collection),
        keep=lambda wildcards: [f"--keep={name}" for name in RUN.shards.obs_columns],
        seed=RUN.seed,
        version=CORPUS_VERSION,
    shell:
        "wced cells --section {params.section:q} --census {params.census:q} {params.collection:q} {params.keep:q}"
        " --seed {params.seed:q} --output {output.cells:q} --table {output.table:q} > {log:q} 2>&1"
