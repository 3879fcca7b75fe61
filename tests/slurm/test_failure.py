"""A job that fails on the cluster: Snakemake shows its log and the sentence with the reason."""

import re
from pathlib import Path

import pytest
import yaml

from planning import results
from slurm.running import start, write_run

pytestmark = pytest.mark.release(part="slurm")


def test_a_failed_job_shows_its_log_and_the_sentence_in_it(cluster, tmp_path):
    config, log = write_run(tmp_path), tmp_path / "snakemake.log"
    table = Path(yaml.safe_load(config.read_text())["sources"]["table"])
    table.write_text(table.read_text().replace("obs.batch", "obs.nowhere"))
    wanted = str(results(config) / "corpus/sources/held_blood.h5ad")
    run = start(config, "--retries", "0", "--", wanted, log=log)
    assert run.wait(600) == 1
    text = log.read_text()
    of_rule = results(config) / "logs/source/held_blood.log"
    sentence = next(line for line in of_rule.read_text().splitlines() if line.startswith("wced: "))
    assert "held_blood" in sentence and "nowhere" in sentence and "Traceback" not in of_rule.read_text()
    _, _, shown = text.partition("Error in rule source:")
    (of_job,) = re.findall(rf"log: {re.escape(str(of_rule))}, (\S+\.log) \(check log file", shown)
    assert Path(of_job).exists() and f"{tmp_path}/.snakemake/slurm_logs/rule_source/" in of_job
    assert sentence in shown, shown  # show-failed-logs
