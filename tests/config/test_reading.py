"""YAML as users write it is read as they mean it, or refused in a sentence."""

import json
from pathlib import Path

import pytest
import yaml

from wced.config import as_written, check, read, section
from wced.config.corpus import Census
from wced.config.speedrun import Speedrun
from wced.errors import WcedError

ROOT = Path(__file__).parents[2]

CONFIG = """\
run: RUN
seed: SEED
genes: {gencode: {path: g.csv}, hgnc: {path: h.txt}}
census: {version: VERSION, tiledb: {vfs.s3.use_virtual_addressing: FLAG}}
cells:
  filter: {primary_only: TRUTH}
  sampling: [{kind: stratified, by: donor_id, fractions: {DONOR: FRACTION}}]
shards: {count: 2}
pretraining:
  checkpoints:
    m: {wced: {}, optimiser: &optimiser {learning_rate: RATE}}
    n: {mlm: {}, optimiser: {<<: *optimiser}}
embedding: {datasets: [c]}
benchmarks:
learnability:
"""
PLAIN = {
    "RUN": "r", "SEED": "1", "VERSION": "stable", "FLAG": "'a'", "TRUTH": "true", "DONOR": "d", "FRACTION": "1",
    "RATE": "0.1",
}  # fmt: skip


def write(path, text=CONFIG, **values):
    for name, value in (PLAIN | values).items():
        text = text.replace(name, value)
    path.write_bytes(text.encode())
    return path


def values_of(run):
    optimisers = [checkpoint.optimiser for checkpoint in run.pretraining.checkpoints.values()]
    assert optimisers[0].learning_rate == optimisers[1].learning_rate
    return {
        "RUN": run.run, "SEED": run.seed, "VERSION": run.census.version, "RATE": optimisers[0].learning_rate,
        "FLAG": run.census.tiledb["vfs.s3.use_virtual_addressing"], "TRUTH": run.cells.filter.primary_only,
        "DONOR": next(iter(run.cells.sampling[0].fractions)), "FRACTION": run.cells.sampling[0].fractions.popitem()[1],
    }  # fmt: skip


def as_snakemake(path):
    return check(as_written(yaml.load(path.read_text(), yaml.FullLoader), [path]))


@pytest.mark.parametrize("reader", [read, as_snakemake])
@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        *((name, text, text) for name in ("RUN", "VERSION", "DONOR") for text in ("2025-01-30", "2024", "010", "no")),
        ("VERSION", "1.10", "1.10"), ("DONOR", "1_000", "1_000"), ("FLAG", "off", "off"), ("FLAG", "false", "false"),
        ("SEED", "010", 10), ("SEED", "1_000", 1000), ("SEED", "1e3", 1000), ("SEED", "'4'", 4), ("RATE", ".5", 0.5),
        ("RATE", "5e-3", 0.005), ("FRACTION", "1e-1", 0.1), ("TRUTH", "yes", True), ("TRUTH", "Off", False),
        ("TRUTH", "FALSE", False),
    ],
)  # fmt: skip
def test_a_value_is_what_is_meant(tmp_path, reader, name, written, value):
    result = values_of(reader(write(tmp_path / "config.yaml", **{name: written})))[name]
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("RUN", "RUN\t# x"),
    ],
    ids=["byte-order mark", "Windows", "tab"],
)
def test_additions_of_editors_change_nothing(tmp_path, change):
    assert read(write(tmp_path / "a.yaml", change(CONFIG))) == read(write(tmp_path / "b.yaml"))


def test_sections_and_lists_without_content_are_empty(tmp_path):
    run = read(write(tmp_path / "config.yaml", CONFIG.replace("count: 2", "label_columns: ")))
    assert (run.benchmarks.tasks, run.learnability.top, run.shards.label_columns) == ({}, 20, [])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("shards:", "seed: 4\nshards:", "{path}, line 8: seed is given twice, first in line 2; keep one of them"),
        ("{primary_only: TRUTH}", "{primary_only: no, primary_only: no}",
         "{path}, line 6: cells.filter.primary_only is given twice, first in line 6; keep one of them"),
        ("{DONOR: 1}", "{1: 1, '1': 1}",
         "{path}, line 7: cells.sampling.fractions.1 is given twice, first in line 7; keep one of them"),
        ("DONOR:", "~:", "{path}, line 7: the key ~ is null; put it in quotes"),
        ("seed: SEED", "seed:", "config, seed: None is not of type 'integer'; give a value, or leave the key out"),
        ("RATE", ".nan", "config, pretraining.checkpoints.n.optimiser.learning_rate: '.nan' is not of type 'number'"),
    ],
    ids=["twice", "twice below", "twice in quotes", "null key", "nothing", "no finite number"],
)  # fmt: skip
def test_ambiguous_yaml_is_refused(tmp_path, old, new, sentence):
    path = write(tmp_path / "config.yaml", CONFIG.replace("FRACTION", "1").replace(old, new))
    with pytest.raises(WcedError) as refusal:
        read(path)
    assert str(refusal.value) == sentence.format(path=path)


def test_the_last_file_and_the_command_line_win(tmp_path):
    first, last = tmp_path / "first.yaml", tmp_path / "last.yaml"
    first.write_text("run: 010\nseed: 1\nshards: {count: 010}\n")
    last.write_text("run: 0o10\nseed: 2\n")
    # As Snakemake merges them, with `--config seed=3`; 8 is what YAML 1.1 reads in 010.
    config = {"run": "0o10", "seed": 3, "shards": {"count": 8}}
    assert as_written(config, [first, last]) == {"run": "0o10", "seed": 3, "shards": {"count": "010"}}


def test_a_number_from_elsewhere_is_not_text():
    config = {"run": 8, "genes": {"gencode": {}, "hgnc": {}}, "census": {}, "pretraining": {}, "embedding": {}}
    with pytest.raises(WcedError, match=r"^config, run: 8 is not of type 'string'; put it in quotes$"):
        check(config | {"benchmarks": {}})


def test_a_section_is_json_or_a_file(tmp_path):
    path = tmp_path / "section.json"
    path.write_text(json.dumps({"version": "2025-01-30", "attempts": 2}))
    assert section(Census, str(path)) == section(Census, path.read_text())
    path.write_text("version: 2025-01-30\nattempts: 2\n")
    assert section(Census, str(path)).version == "2025-01-30"
    assert section(Speedrun, str(ROOT / "config/speedrun.yaml"), "speedrun").datasets
    with pytest.raises(WcedError, match=f"{path}: has no section speedrun"):
        section(Speedrun, str(path), "speedrun")
    with pytest.raises(WcedError, match=r"^nowhere\.json: no such file"):
        section(Census, "nowhere.json")
