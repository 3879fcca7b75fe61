import numpy as np

from wced.report.timings import timings

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def test_timings_name_rule_and_wildcards_and_sort_by_time(tmp_path):
    for rule, job, line in [
        ("pretrain", "mlm", "9.5\t0:00:09\t900.1\t1\t1\t1\t1\t1\t99\t12\n"),
        ("umap", "all", "0.2\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n"),
        ("score", "d.m", "20\t0:00:20\t5\t1\t1\t1\t1\t1\t99\t19\n"),
    ]:
        (tmp_path / rule).mkdir()
        (tmp_path / rule / f"{job}.tsv").write_text(HEADER + line)
    table = timings(tmp_path)
    assert table["rule"].tolist() == ["score d.m", "pretrain mlm", "umap"]
    assert table["seconds"].tolist() == [20, 9.5, 0.2]
    assert table["max_rss_mb"].tolist()[:2] == [5, 900.1] and np.isnan(table["max_rss_mb"].iloc[2])


def test_no_job_gives_an_empty_table(tmp_path):
    assert timings(tmp_path).empty
