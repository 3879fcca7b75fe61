"""One system doing one work in a process of its own: `python -m speed.child JOB`.

It answers with one JSON object a line: `ready` when everything is open and warm, then one result for each line `go`
that it reads. Nothing but the standard library is imported before the process is pinned to its core.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

IDENTITIES = 1000
"""Batches of a repeat whose entropy is computed: enough for a mean, and no more memory for a larger corpus."""


def timed(work: Any, seconds: float) -> dict[str, Any]:
    """Do a work for at least some seconds, up to the next multiple of its unit or else the end of an epoch.

    Returns
    -------
    dict
        `cells`, `tokens` and `seconds`; `identities`: the soma_joinids of the first `IDENTITIES` batches.
    """
    cells = tokens = 0
    identities: list[Any] = []
    over = False
    start = time.perf_counter()
    while not over:
        for done in work.epoch():
            cells += done.cells
            tokens += done.tokens
            if len(identities) < IDENTITIES and done.soma_joinid is not None:
                identities.append(done.soma_joinid.copy())  # the original may keep more alive
            if work.unit and cells % work.unit == 0 and time.perf_counter() - start >= seconds:
                break
        over = time.perf_counter() - start >= seconds
    return {"cells": cells, "tokens": tokens, "seconds": time.perf_counter() - start, "identities": identities}


def checked(work: Any, job: dict[str, Any]) -> None:
    """Raise if the first batch of raw counts has other molecules than the cells that it names."""
    import numpy as np

    done = next(iter(work.epoch()))
    if done.counts is not None:
        expected = np.load(Path(job["data"], "raw_sum.npy"))[done.soma_joinid]
        if not np.array_equal(done.counts().astype(np.float64), expected):
            raise ValueError("it delivers other counts than the cells have")


def main() -> None:
    """Run the job; a failure is its answer, with the traceback on stderr."""
    job = json.loads(sys.argv[1])
    if job["core"] is not None:
        os.sched_setaffinity(0, {job["core"]})
    # Answers have a channel of their own: what libraries print goes to stderr.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**record: Any) -> None:
        channel.write(json.dumps(record) + "\n")

    try:
        from importlib import import_module
        from importlib.metadata import version

        import numpy as np

        import wced
        from speed import entropy, works
        from speed.machine import usage

        if job["system"] == "annbatch" and job["work"] == "prepare":
            from speed.loaders import write_annbatch

            write_annbatch(Path(job["data"]), Path(job["folder"]), works.SEED)
            answer(ready=True)
            return
        named = version(job["package"]) if job["package"] != "wced" else wced.__version__
        for module in job["modules"]:
            import_module(module)
        dataset_of_cell = np.load(Path(job["data"], "dataset.npy"))
        before = usage().anonymous
        work = works.open_work(job)
        if job["warm"] > 0:
            checked(work, job)
            timed(work, job["warm"])
        answer(ready=True, version=named, anonymous_before=before)
        for line in sys.stdin:
            if line.strip() != "go":
                break
            result = timed(work, job["seconds"])
            datasets = [dataset_of_cell[joinids] for joinids in result.pop("identities")]
            batch, full = entropy.mean_entropies(datasets, dataset_of_cell)
            answer(**result, batch_entropy=batch, full_shuffle_entropy=full)
    except Exception as failure:
        traceback.print_exc()
        answer(reason=" ".join(f"{type(failure).__name__}: {failure}".split())[:300])


if __name__ == "__main__":
    main()
