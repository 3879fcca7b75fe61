from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = [ROOT / "Snakefile", *sorted(ROOT.glob("workflow/rules/*.smk"))]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_a_rule_knows_of_no_engine(path):
    text = path.read_text().lower()
    assert not [word for word in ("slurm", "sbatch", "srun", "bsub", "qsub", "kubernetes", "aws") if word in text]


def test_the_profile_says_once_what_partitions_are_called():
    text = (ROOT / "profiles/slurm/config.v9+.yaml").read_text()
    profile = yaml.safe_load(text)
    named = [profile["default-resources"], *profile["set-resources"].values()]
    assert {rule["slurm_partition"] for rule in named if "slurm_partition" in rule} == {"cpu", "gpu"}
    assert text.count('"cpu"') == text.count('"gpu"') == 1
