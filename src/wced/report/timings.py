"""How long each job took, from the records beside what was made."""

import os
from pathlib import Path

import pandas as pd

from wced.provenance import ENDING, read_record
from wced.tables import TIMINGS, checked


def timings(folder: str | Path) -> pd.DataFrame:
    """Return one row of tables.TIMINGS for each command that made something of a run, the longest job first.

    Parameters
    ----------
    folder
        The folder of the run. What a command has made as a whole is not searched for more; downloads, which runs
        share, stand elsewhere.
    """
    rows = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if f"{name}{ENDING}" not in files and not name.startswith(".")]
        for name in files:
            made = Path(place) / name.removesuffix(ENDING)
            if name.endswith(ENDING) and made.exists():
                record = read_record(Path(place) / name)
                if record["output"] == next(iter(record["outputs"])):  # of several outputs the first stands for the job
                    job = f"{record['command']} {made.relative_to(folder)}"
                    rows.append((job, *(record.get(column) for column in ("seconds", "max_rss_mb", "cpu_seconds"))))
    frame = pd.DataFrame(sorted(rows), columns=["job", "seconds", "max_rss_mb", "cpu_seconds"])
    return checked(frame.sort_values("seconds", ascending=False, kind="stable", ignore_index=True), TIMINGS)
