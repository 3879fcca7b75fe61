import json

from learnability.conftest import run_command
from learnability.simulated import annotation, write_checkpoint
from wced import tables
from wced.learnability.analysis import MADE

SECTION = {"bootstraps": 20, "permutations": 100, "simulation": {"repeats": 1}}


def test_one_command_makes_everything(tmp_path):
    for seed, (name, decoder) in enumerate((("w", "wced"), ("m", "mlm"))):
        write_checkpoint(tmp_path / name, annotation(600), decoder=decoder, seed=seed)
    result = run_command([tmp_path / "w", tmp_path / "m"], tmp_path / "out", SECTION, "--run", "demo")
    assert result.exit_code == 0, result.output
    for table in MADE:
        assert len(tables.read(table, tmp_path / "out" / "tables" / f"{table.name}.tsv"))
    assert len(tables.read(tables.GENE_ERRORS, tmp_path / "out" / "errors.parquet")) == 2 * 3 * 600
    html = (tmp_path / "out" / "report" / "genes.html").read_text()
    assert 'href="../tables/learnability_facts.tsv"' in html and 'href="../figures/winners.svg"' in html
    record = json.loads((tmp_path / "out" / "report" / "genes.html.provenance.json").read_text())
    assert set(record["inputs"]) == {f"{name}/{file}" for name in "wm" for file in ("gene_errors", "gene_error_sums")}


def test_folders_of_one_checkpoint_are_refused(tmp_path):
    for name in ("w", "m"):
        write_checkpoint(tmp_path / name / "c", annotation(50))
        for path in list((tmp_path / name / "c").iterdir()):
            path.rename(tmp_path / name / path.name)
    result = run_command([tmp_path / "w", tmp_path / "m"], tmp_path / "out", SECTION, "--run", "demo")
    assert result.exit_code != 0 and "are of the checkpoint c, as those of another" in str(result.exception)
    assert not (tmp_path / "out" / "report" / "genes.html").exists()
