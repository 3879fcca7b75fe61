import json

import numpy as np

from wced.provenance import provenance_path, recorded
from wced.report.records import timings


def make(output, command, *also, folder=False, **facts):
    """Make a file or folder whose record has other times."""
    with recorded(output, command=command, section={}, inputs={}, also=also) as record:
        for path in (output, *also):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if folder else path.write_text("content")
        record |= facts


def test_timings_name_command_and_output_and_sort_by_time(tmp_path):
    make(tmp_path / "tables/scores.tsv", "gather", seconds=0.2)
    make(tmp_path / "pretraining/mlm", "pretrain", folder=True, seconds=9.5, cpu_seconds=12.0, max_rss_mb=900.1)
    scores = tmp_path / "benchmarks/czi/d.m.tsv"
    make(scores, "score czi", scores.with_suffix(".figures"), seconds=20, cpu_seconds=19.0)
    table = timings(tmp_path)
    jobs = ["score czi benchmarks/czi/d.m.tsv", "pretrain pretraining/mlm", "gather tables/scores.tsv"]
    assert table["job"].tolist() == jobs and table["seconds"].tolist() == [20, 9.5, 0.2]
    assert table["cpu_seconds"].tolist()[:2] == [19, 12] and table["max_rss_mb"].iloc[1] == 900.1


def test_files_inside_an_output_and_missing_outputs_are_no_jobs(tmp_path):
    make(tmp_path / "census", "census", folder=True)
    make(tmp_path / "census/inside.tsv", "other")
    make(tmp_path / ".cells.x/cells.parquet", "cells")
    make(tmp_path / "old.tsv", "gather")
    (tmp_path / "old.tsv").unlink()
    assert timings(tmp_path)["job"].tolist() == ["census census"]


def test_a_record_without_memory_has_an_empty_one(tmp_path):
    assert timings(tmp_path).empty
    make(tmp_path / "a.tsv", "gather", seconds=1.0)
    record = json.loads(provenance_path(tmp_path / "a.tsv").read_text())
    del record["max_rss_mb"], record["cpu_seconds"]
    provenance_path(tmp_path / "a.tsv").write_text(json.dumps(record))
    table = timings(tmp_path)
    assert table["seconds"].tolist() == [1] and np.isnan(table[["max_rss_mb", "cpu_seconds"]].to_numpy(float)).all()
