"""What Snakemake's own report and its catalog of workflows need; and the workflow as a module of another one."""

import re
from pathlib import Path

import pytest
import yaml

from generated import write_generated_run
from planning import snakemake

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
MODULE = """{config}

module wced:
    snakefile:
        "{root}/workflow/Snakefile"
    config:
        {given}

use rule * from wced as wced_*

rule mine:
    default_target: True
    input:
        rules.wced_report.output.page,
        rules.wced_all.input,
"""


def test_captions_are_there_and_all_are_used():
    used = set()
    for path in RULES:
        for caption in re.findall(r'(?:caption=|^report: )"(.*?)"', path.read_text(), re.M):
            assert (path.parent / caption).read_text().strip(), f"{path.name}: {caption}"
            used.add((path.parent / caption).resolve())
    assert used == set((ROOT / "workflow" / "report").glob("*.rst"))


def test_every_figure_and_page_is_in_the_report_of_snakemake():
    for path in RULES:
        assert not re.search(r'^        (figures|page)=(directory|f")', path.read_text(), re.M), path.name


def test_the_catalog_finds_what_it_asks_for():
    catalog = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert set(catalog) == {"usage"}
    assert set(catalog["usage"]) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert (ROOT / "workflow" / "Snakefile").read_text().strip() and (ROOT / "config" / "README.md").exists()
    flags = catalog["usage"]["mandatory-flags"]["flags"].split()
    assert flags[0] == "--configfile" and (ROOT / flags[1]).exists()
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme


@pytest.mark.parametrize("inline", [False, True], ids=["configfile", "config in the Snakefile"])
def test_another_workflow_uses_this_one_as_a_module(tmp_path, inline):
    config = write_generated_run(tmp_path)
    given = repr(yaml.safe_load(config.read_text())) if inline else "config"
    text = MODULE.format(config="" if inline else f'configfile: "{config}"', given=given, root=ROOT)
    (tmp_path / "Snakefile").write_text(text)
    done = snakemake("--cores", "1", "--dry-run", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.M))
    assert jobs["mine"] == jobs["wced_report"] == "1" and jobs["wced_pretrain"] == "2"
