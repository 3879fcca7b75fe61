import pandas as pd
import pytest
from matplotlib.figure import Figure

from clouds import clouds
from wced.benchmarks.job import Metric, read_job, task_module
from wced.benchmarks.neighbours import neighbours_of, write_neighbours
from wced.config.benchmarks import Benchmarks, Integration
from wced.config.benchmarks.czi import Czi
from wced.config.benchmarks.transfer import Transfer
from wced.embedding.files import write_embedding
from wced.errors import WcedError
from wced.figures import save_figure

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


def test_a_job_has_what_it_is_given(folder):
    files = {"neighbours": "m.npz", "annotation": "m.parquet", "checkpoint": "model", "reference": "m.h5ad"}
    files = {name: folder / file for name, file in files.items()}
    job = read_job("r", 7, INTEGRATION, folder / "m.h5ad", **files)
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
        read_job("r", 0, section, folder / "m.h5ad", **files)


@pytest.mark.parametrize("task", Benchmarks.kinds())
def test_every_benchmark_of_the_config_has_a_module_that_says_what_it_gives(task):
    module = task_module(task)
    assert module.TITLE and callable(module.score)
    assert all(isinstance(metric, Metric) for metric in module.METRICS)
    names = [metric.name for metric in module.METRICS]
    assert len(set(names)) == len(names) and any(metric.headline for metric in module.METRICS)
    assert all(not metric.headline or metric.ranks for metric in module.METRICS)


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
