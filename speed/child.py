"""One system doing one work in its own process: `python -m speed.child JOB`.

It prints one JSON object per line: `ready` when everything is open and warm, then one result for each line `go` that it
reads. It imports only the standard library before it is pinned to its core.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the job; a failure is its answer, with the traceback on stderr."""
    job = json.loads(sys.argv[1])
    if job["core"] is not None:
        os.sched_setaffinity(0, {job["core"]})
    # Answers have their own channel: whatever libraries print goes to stderr.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**record: Any) -> None:
        channel.write(json.dumps(record) + "\n")

    try:
        from importlib import import_module
        from importlib.metadata import version

        import numpy as np

        import wced
        from speed import works
        from speed.machine import usage

        if job["system"] == "annbatch" and job["work"] == "prepare":
            from speed.loaders import write_annbatch

            write_annbatch(Path(job["data"]), Path(job["folder"]), works.SEED)
            answer(ready=True)
            return
        for module in job["modules"]:
            import_module(module)
        dataset_of_cell = np.load(Path(job["data"], "dataset.npy"))
        before = usage().anonymous
        work = works.open_work(job)
        if job["warm"] > 0:
            works.check_counts(work, Path(job["data"]))
            works.timed(work, job["warm"])
        package = job["package"]
        answer(ready=True, version=wced.__version__ if package == "wced" else version(package), anonymous_before=before)
        while sys.stdin.readline().strip() == "go":
            result = works.timed(work, job["seconds"])
            datasets = [dataset_of_cell[joinids] for joinids in result.pop("identities")]
            batch, full = works.mean_entropies(datasets, dataset_of_cell)
            answer(**result, batch_entropy=batch, full_shuffle_entropy=full)
    except Exception as failure:
        traceback.print_exc()
        answer(reason=" ".join(f"{type(failure).__name__}: {failure}".split())[:300])


if __name__ == "__main__":
    main()
