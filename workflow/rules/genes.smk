# What each gene does and how it is regulated, from databases, before any model output. Included when config has the
# section `annotation`.
import re

from wced.learnability import FORMAT_VERSION as LEARNABILITY_VERSION
from wced.genes.annotation.references import local_file, url_file

# Every file that a database's address gives, by the name under which it is kept.
REFERENCES = list(RUN.annotation.references.values())
URLS = {url_file(reference): reference for reference in REFERENCES if reference.url is not None}


rule fetch:
    output:
        file=f"{RUN.sources.archives}/{{file}}",
    log:
        f"{OUT}/logs/fetch/{{file}}.log",
    wildcard_constraints:
        file="|".join(map(re.escape, URLS)) or "none",
    retries: 2
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        url=lambda wildcards: URLS[wildcards.file].url,
        sha256=lambda wildcards: URLS[wildcards.file].sha256,
    shell:
        "wced fetch --url {params.url:q} --sha256 {params.sha256:q} --output {output.file:q} > {log:q} 2>&1"


rule gene_annotation:
    input:
        files=sorted({local_file(reference, RUN.sources.archives) for reference in REFERENCES}),
        families=RUN.annotation.families or [],
        hgnc=local_files(RUN.genes.hgnc, RUN.sources.archives),
        genes=rules.gene_table.output.genes,
    output:
        genes=f"{OUT}/learnability/gene_annotation.parquet",
        sources=f"{OUT}/tables/gene_annotation_sources.tsv",
        groups=f"{OUT}/tables/gene_groups.tsv",
    log:
        f"{OUT}/logs/gene_annotation/all.log",
    conda:
        "../../envs/wced.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        section=lambda wildcards: dump(RUN.annotation),
        genes=lambda wildcards: dump(RUN.genes),
        archives=lambda wildcards: RUN.sources.archives,
        version=LEARNABILITY_VERSION,
    shell:
        "wced gene-annotation --section {params.section:q} --genes-section {params.genes:q} --genes {input.genes:q}"
        " --archives {params.archives:q} --output {output.genes:q} --sources {output.sources:q} --groups"
        " {output.groups:q} > {log:q} 2>&1"
