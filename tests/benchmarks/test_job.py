import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from clouds import clouds
from wced.benchmarks.czi import Czi
from wced.benchmarks.job import Job, read_job, rows, scorer, task_module
from wced.benchmarks.neighbours import neighbours_of, write_neighbours
from wced.benchmarks.task import Metric
from wced.benchmarks.transfer import Transfer
from wced.benchmarks.zero_shot_integration import Integration
from wced.config.benchmarks import Benchmarks
from wced.embedding.files import write_embedding
from wced.errors import WcedError
from wced.figures import save_figure
from wced.stats import Score, missing

INTEGRATION, CLASSIFICATION = Integration(datasets=["d"]), Czi(datasets=["d"])


@pytest.fixture
def folder(tmp_path):
    """Embedding, neighbours and annotation of eight cells."""
    cells = clouds(["CL:1", "CL:2"] * 4, ["x"] * 8)
    facts = {"model": "m", "dataset": "d", "n_params": 5, "leakage": "none", "source": "here"}
    write_embedding(tmp_path / "m.h5ad", cells.X, cells.obs, **facts)
    write_neighbours(tmp_path / "m.npz", neighbours_of(cells, 3, seed=0, cluster_seeds=1))
    pd.DataFrame({"cell": cells.obs_names, "predicted_term": "CL:1"}).to_parquet(tmp_path / "m.parquet")
    (tmp_path / "model").mkdir()
    return tmp_path


def test_a_job_has_its_files(folder):
    names = {"neighbours": "m.npz", "annotation": "m.parquet", "checkpoint": "model", "reference": "m.h5ad"}
    files = {name: folder / file for name, file in names.items()} | {"source": None}
    job = read_job("r", 7, INTEGRATION, folder / "m.h5ad", files)
    assert (job.model, job.dataset, job.seed, job.embedding.n_obs) == ("m", "d", 7, 8)
    assert job.neighbours.indices_nk.shape == (8, 7) and len(job.annotation) == 8
    assert job.reference.n_obs == 8
    assert job.checkpoint == folder / "model" and job.source is None and job.figures is None


@pytest.mark.parametrize(
    ("section", "files", "message"),
    [
        pytest.param(INTEGRATION, {}, "Integration needs --neighbours", id="needed"),
        pytest.param(Transfer(datasets=["d"], train_on="e"), {}, "Transfer needs --reference", id="reference"),
        pytest.param(CLASSIFICATION, {"source": "no.h5ad"}, r"no\.h5ad: no such file", id="source"),
        pytest.param(CLASSIFICATION, {"annotation": "no.parquet"}, r"no\.parquet: no such file", id="annotation"),
        pytest.param(CLASSIFICATION, {"checkpoint": "no"}, "no: no such file; expected the folder", id="checkpoint"),
    ],
)
def test_what_is_not_there_is_named(folder, section, files, message):
    files = {name: folder / file for name, file in files.items()}
    with pytest.raises(WcedError, match=message):
        read_job("r", 0, section, folder / "m.h5ad", files)


@pytest.mark.parametrize("task", Benchmarks.kinds())
def test_every_benchmark_of_the_config_has_a_module_that_says_what_it_gives(task):
    module = task_module(task)
    assert module.TITLE and callable(scorer(task))
    assert all(isinstance(metric, Metric) for metric in module.METRICS)
    names = [metric.name for metric in module.METRICS]
    assert len(set(names)) == len(names) and any(metric.headline for metric in module.METRICS)
    assert all(not metric.headline or metric.ranks for metric in module.METRICS)


def test_sections_are_read_in_any_order_of_imports_and_without_slow_ones():
    code = "import sys, wced.benchmarks.transfer, wced.config.run; print({'numpy', 'torch'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def table(n=1, label="l", source="here", **scores) -> pd.DataFrame:
    job = Job("r", 0, INTEGRATION, clouds(["CL:1"], ["x"], source=source))
    return rows(job, "t", scores, protocol="p", split="all", n=n, label=label).set_index("metric")


def test_a_value_that_is_not_finite_becomes_a_reason():
    scores = table(good=Score(0.5), bad=Score(np.inf), none=missing("because"))
    assert scores["reason"].to_dict() == {"good": "", "bad": "the metric is not finite", "none": "because"}
    assert scores["value"].isna().tolist() == [False, True, True]


def test_rows_say_the_source_the_label_and_the_cells_of_each_score():
    scores = table(n=9, label="drug", source="external", all=Score(0.5), some=Score(0.5, n=3))
    assert scores["n"].tolist() == [9, 3] and set(scores["label"]) == {"drug"} and set(scores["source"]) == {"external"}


def test_the_same_figure_is_the_same_file_with_its_numbers_and_caption(tmp_path):
    for name in ("a", "b"):
        figure = Figure()
        figure.subplots().plot([1, 2], [3, 4])
        data = pd.DataFrame({"x": [1, 2], "y": [3, 4]})
        save_figure(tmp_path / name, "line", figure, title="A line", caption="It goes up.", data=data)
    for suffix in ("svg", "pdf", "tsv", "md"):
        a, b = ((tmp_path / name / f"line.{suffix}").read_bytes() for name in ("a", "b"))
        assert a == b, suffix
    assert (tmp_path / "a/line.md").read_text() == "# A line\n\nIt goes up.\n"
    assert (tmp_path / "a/line.tsv").read_text() == "x\ty\n1\t3\n2\t4\n"
