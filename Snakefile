# From single cells to pretrained models and what they learned. Rules are in workflow/rules, in flow order.

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from wced.cli import warm
from wced.config import as_written, check
from wced.corpus.availability import check_files, in_words, unavailable
from wced.corpus.datasets import check_run, read_datasets
from wced.errors import WcedError

min_version("9.0")

# Only loaded without another config, into which Snakemake would merge it.
if not workflow.configfiles:

    configfile: "config/demo.yaml"


try:
    RUN = check(as_written(config, workflow.configfiles))
    DATASETS = read_datasets(RUN.sources.table)
    check_run(RUN, DATASETS)
    # Held-out datasets whose files are missing: the run leaves them out and says so.
    SKIPPED = unavailable(RUN, DATASETS)
    RUN = RUN.without([row["dataset"] for row in SKIPPED])
    check_files(RUN, DATASETS)
except WcedError as error:
    raise WorkflowError(str(error)) from None

for row in SKIPPED:
    print(in_words(row), file=sys.stderr)

OUT = str(Path(RUN.results, RUN.run))


include: "workflow/rules/common.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/shards.smk"
include: "workflow/rules/pretraining.smk"
include: "workflow/rules/embedding.smk"


if RUN.annotation is not None:

    include: "workflow/rules/genes.smk"


include: "workflow/rules/benchmarks.smk"
include: "workflow/rules/speed.smk"
include: "workflow/rules/learnability.smk"
include: "workflow/rules/report.smk"


# On one machine the commands of jobs are forks of a process that has already imported what they need.
onstart:
    if workflow.is_main_process and workflow.local_exec and not workflow.touch:
        warm.start(jobs=len(workflow.dag))


rule all:
    default_target: True
    input:
        report=f"{OUT}/report/index.html",
        tables=expand(f"{OUT}/tables/{{table}}.tsv", table=TABLES),
