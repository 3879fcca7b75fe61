"""Citation, licence, changelog and hooks agree with the package and CI, and no test is left out."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format requires
    assert citation["cff-version"] == "1.2.0"
    assert (str(citation["version"]), citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert all("name" in author or "family-names" in author for author in citation["authors"])


def test_the_licence_file_has_the_named_licence():
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0" and re.search(r"Apache License\s+Version 2\.0, January 2004", text)
    assert "Apache-2.0" in (ROOT / "README.md").read_text()


def test_the_changelog_starts_with_this_version_and_names_every_room():
    versions = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    assert versions[0].startswith(PROJECT["version"])
    packages = {path.name for path in (ROOT / "src/wced").iterdir()} - {"genes"}  # a library with rules
    rooms = {path.stem for path in (ROOT / "workflow/rules").glob("*.smk")} & packages
    headings = " ".join(re.findall(r"^### (.+)$", versions[0], re.MULTILINE)).lower()
    assert {"corpus", "report"} <= rooms and all(room in headings for room in rooms)


def test_hooks_are_the_first_checks_of_ci():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook for repo in repos for hook in repo["hooks"]]
    assert [repo["repo"] for repo in repos] == ["local"]  # nothing whose version could differ from the lock's
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks)
    checked = re.findall(r"^make .+$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert [hook["entry"] for hook in hooks] == checked[: checked.index("make demo")]


def test_make_runs_every_part_of_the_tests_of_a_release():
    parts = {
        part for path in ROOT.glob("tests/*/*.py") for part in re.findall(r'release\(part="(\w+)"\)', path.read_text())
    }
    runs = (ROOT / "Makefile").read_text() + (ROOT / "tests/slurm/run").read_text()
    assert {"faults", "scale", "slurm"} == parts == set(re.findall(r"release\(part='(\w+)'\)", runs))
    assert re.search(r"^test-release: test-faults test-scale\n.*tests/slurm/run", runs, re.MULTILINE)
