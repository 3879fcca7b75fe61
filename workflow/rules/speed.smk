# Time to quality: a recipe trained for minutes of the clock, scored on the way. Not part of `all`: it measures.
if RUN.speedrun is not None:
    DEVELOPMENT = [name for name in RUN.speedrun.datasets if DATASETS[name].role != "held_out"]

    # Has `speed`, which is not installed.
    CHECKOUT = Path(str(workflow.current_basedir)).parents[1]

    SPEEDRUN_INPUT = {
        "index": rules.shard_index.output.index,
        "shards": SHARDS,
        "vocabulary": rules.vocabulary.output.vocabulary,
        "labels": rules.vocabulary.output.labels,
        "measured": rules.vocabulary.output.measured,
    }
    SPEEDRUN_PARAMS = {
        "section": lambda wildcards: dump(RUN.speedrun),
        "table": RUN.sources.table,
        "sources": lambda wildcards: f"{OUT}/corpus/sources",
        "version": (PRETRAINING_VERSION, EMBEDDING_VERSION, BENCHMARKS_VERSION),
    }

    SPEEDRUN_REPORT = dict(
        caption="../report/speedrun.rst", category="Speedrun", patterns=["{name}.svg"], labels={"figure": "{name}"}
    )

    # Two cores on any machine, so that minutes are the same everywhere; run nothing beside it.
    rule speedrun:
        input:
            **SPEEDRUN_INPUT,
            sources=expand(rules.source.output.h5ad, dataset=DEVELOPMENT),
        output:
            folder=report(directory(f"{OUT}/speedrun/development"), **SPEEDRUN_REPORT),
        log:
            f"{OUT}/logs/speedrun/development.log",
        conda:
            "../../envs/wced.yaml"
        threads: 2
        resources:
            mem_mb=8000,
            runtime=600,
        params:
            **SPEEDRUN_PARAMS,
            held_out=[],
        shell:
            "PYTHONPATH={CHECKOUT:q}${{PYTHONPATH:+:$PYTHONPATH}} python -m speed speedrun"
            " --index {input.index:q} --sources {params.sources:q} --section {params.section:q}"
            " --table {params.table:q} {params.held_out:q} --output {output.folder:q} > {log:q} 2>&1"

    use rule speedrun as speedrun_held_out with:
        input:
            **SPEEDRUN_INPUT,
            sources=expand(rules.source.output.h5ad, dataset=RUN.speedrun.datasets),
        output:
            folder=report(directory(f"{OUT}/speedrun/held_out"), **SPEEDRUN_REPORT),
        log:
            f"{OUT}/logs/speedrun/held_out.log",
        params:
            **SPEEDRUN_PARAMS,
            held_out=["--held-out"],
