"""How long each job took, from Snakemake's benchmark files."""

from pathlib import Path

import pandas as pd

from wced.tables import TIMINGS, checked


def timings(folder: str | Path) -> pd.DataFrame:
    """Return one row of tables.TIMINGS for each `<rule>/<wildcards>.tsv` below a folder, the longest job first.

    A job that is too short for Snakemake to sample its memory has an empty memory and processor time.
    """
    rows = []
    for path in sorted(Path(folder).glob("*/*.tsv")):
        job = pd.read_csv(path, sep="\t", na_values=["-", "NA"]).iloc[-1]
        wildcards = "" if path.stem == "all" else f" {path.stem}"
        rows.append((f"{path.parent.name}{wildcards}", job["s"], job["max_rss"], job["cpu_time"]))
    frame = pd.DataFrame(rows, columns=["rule", "seconds", "max_rss_mb", "cpu_seconds"])
    return checked(frame.sort_values("seconds", ascending=False, kind="stable", ignore_index=True), TIMINGS)
