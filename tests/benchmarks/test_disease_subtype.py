import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from clouds import embedding
from wced.benchmarks.disease_subtype import METRICS, DiseaseSubtype, Subtype
from wced.benchmarks.disease_subtype.score import cells_of, clusters, score
from wced.benchmarks.job import Job
from wced.errors import WcedError

ASTROCYTE, OF_CORTEX, NEURON = "CL:0000127", "CL:0002605", "CL:0000540"
SUBTYPE = Subtype(up=["GFAP"], down=["GLUL"])
GENES = ["GFAP", "GLUL", "ACTB"]


@pytest.fixture
def brain(tmp_path):
    """Astrocytes of 6 donors, 3 of them cases; in cases, two of three cells are of a state of their own."""
    rng = np.random.default_rng(0)
    donor_n = np.repeat(np.arange(6), 30)
    case_n = donor_n < 3
    state_n = case_n & (np.tile(np.arange(30), 6) < 20)
    counts_ng = rng.poisson(np.where(state_n[:, None], [9, 1, 20], [2, 6, 20])).astype(np.float32)
    x_nd = rng.normal(size=(180, 4)).astype(np.float32)
    x_nd[:, 0] += 12 * state_n
    terms = np.where(np.arange(180) % 2, ASTROCYTE, OF_CORTEX)
    terms[:5] = NEURON
    obs = pd.DataFrame(
        {
            "cell_type_ontology_term_id": terms,
            "disease": np.where(case_n, "Alzheimer disease", "normal"),
            "donor_id": [f"donor {i}" for i in donor_n],
        },
        index=[f"c{i}" for i in range(180)],
    )
    obs.loc["c179", "disease"] = "glioblastoma"
    var = pd.DataFrame({"feature_name": GENES}, index=["ENSG0", "ENSG1", "ENSG2"])
    AnnData(sparse.csr_matrix(counts_ng), obs=obs.copy(), var=var).write_h5ad(tmp_path / "d.h5ad")
    return embedding(x_nd, obs)


@pytest.fixture
def scored(brain, tmp_path):
    def run(subtype=SUBTYPE, cells=brain, **options):
        section = DiseaseSubtype(datasets=["d"], subtype_of={"d": subtype}, neighbours=10, resolution=0.3)
        return score(Job("r", 0, section, cells, source=tmp_path / "d.h5ad", **options)).set_index("metric")

    return run


def test_a_planted_subtype_is_found(scored, tmp_path):
    table = scored(figures=tmp_path / "figures")
    assert {metric.name for metric in METRICS} == set(table.index)
    value = table["value"]
    assert value["signature"] > 1 and value["odds_ratio"] > 20 and value["q_cells"] < 1e-10
    assert value["case_share"] == 1 and value["share_of_cases"] == pytest.approx(55 / 85)
    assert value["explained"] > 0.5
    # All three cases have more such cells than all controls: 2 of 20 ways.
    assert value["q_donors"] == pytest.approx(0.1) and table.loc["q_donors", "n"] == 6
    assert table.loc["odds_ratio", "n"] == 174
    assert table.loc["signature", "split"].endswith("1 cells that are neither case nor control")
    assert table.loc["signature", "protocol"].endswith("signature of GFAP, GLUL")
    by_cluster = pd.read_csv(tmp_path / "figures/clusters.tsv", sep="\t")
    assert by_cluster["cells"].sum() == 174 and by_cluster["cells"].is_monotonic_decreasing
    plotted = pd.read_csv(tmp_path / "figures/cells.tsv", sep="\t")
    assert plotted["cell"].tolist() == [f"c{i}" for i in range(5, 179)]
    assert (tmp_path / "figures/cells.svg").exists() and (tmp_path / "figures/clusters.svg").exists()
    assert "mean of GFAP minus mean of GLUL" in (tmp_path / "figures/cells.md").read_text()


def test_the_cluster_is_chosen_by_the_signature_and_not_by_the_disease(scored):
    """Upside down, the signature is that of the other state, of which cases have few cells."""
    table = scored(SUBTYPE.model_copy(update={"up": ["GLUL"], "down": ["GFAP"]}))
    assert table.loc["signature", "value"] > 0 and table.loc["odds_ratio", "value"] < 1


def test_the_same_seed_gives_the_same_scores(scored):
    pd.testing.assert_frame_equal(scored(), scored())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cell_type": NEURON}, "5 cells are too few for 10 neighbours"),
        ({"cases": ["dementia"]}, "all cells are of controls"),
        ({"up": ["none"], "down": []}, "no marker is measured and varies: none"),
    ],
    ids=["few cells", "no cases", "no marker"],
)
def test_what_cannot_be_computed_says_why(scored, change, words):
    table = scored(SUBTYPE.model_copy(update=change))
    assert table["value"].isna().all() and (table["reason"] == words).all()


def test_without_donors_only_the_cells_are_tested(scored, brain):
    brain.obs["donor_id"] = "unknown"
    table = scored(cells=brain)
    assert table.loc["q_donors", "reason"] == "the donor of 174 of 174 cells is not known"
    assert table["reason"].drop("q_donors").eq("").all()


def test_cells_of_a_type_are_those_of_its_descendants(brain):
    chosen_n, case_n, _ = cells_of(brain.obs, SUBTYPE, "d")
    assert chosen_n.sum() == 174 and not chosen_n[:5].any() and len(case_n) == 174 and case_n.sum() == 85
    with pytest.raises(WcedError, match=r"dataset d: obs has no column stage; .* extra_obs"):
        cells_of(brain.obs, SUBTYPE.model_copy(update={"disease_column": "stage"}), "d")


def test_the_source_has_the_cells_of_the_embedding(scored, brain):
    with pytest.raises(WcedError, match="its cells are not those of the embedding of d"):
        scored(cells=brain[::-1].copy())


def test_clusters_are_numbered_by_size():
    x_nd = np.random.default_rng(0).normal(size=(90, 2)) * 0.1
    x_nd[:30] += 10
    np.testing.assert_array_equal(clusters(x_nd, 30, 0.1, seed=0), [1] * 30 + [0] * 60)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cases": ["normal"]}, "normal is in both cases and controls"),
        ({"up": ["A"], "down": ["A"]}, "A is in both up and down"),
        ({"up": [], "down": []}, "a signature has markers"),
    ],
)
def test_settings_that_contradict(change, words):
    with pytest.raises(ValueError, match=words):
        Subtype(**change)
