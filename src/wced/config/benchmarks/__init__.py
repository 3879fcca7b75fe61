"""Config of the benchmarks: one file and one key each."""

import typing

from pydantic import Field

from wced.config.base import Section
from wced.config.benchmarks.base import Task
from wced.config.benchmarks.czi import Czi
from wced.config.benchmarks.disease_subtype import DiseaseSubtype
from wced.config.benchmarks.finetuned_annotation import FinetunedAnnotation
from wced.config.benchmarks.gene_level import GeneLevel
from wced.config.benchmarks.mechanism_of_action import MechanismOfAction
from wced.config.benchmarks.ontology_structure import OntologyStructure
from wced.config.benchmarks.probe import Probe
from wced.config.benchmarks.transfer import Transfer
from wced.config.benchmarks.zero_shot_annotation import ZeroShotAnnotation
from wced.config.benchmarks.zero_shot_integration import Integration
from wced.errors import WcedError

__all__ = ["Benchmarks", "Integration", "Task", "ZeroShotAnnotation"]


class Benchmarks(Section):
    """The benchmarks. Each key is a task, scored on its datasets; one that is null or has no datasets is not run."""

    neighbours: int = Field(15, ge=5)
    """Nearest neighbours, the cell itself among them, of the graph of an embedding that tasks share (scIB: 15)."""
    cluster_seeds: int = Field(5, ge=1)
    """Seeds of the Leiden clustering, from the run's on, over which NMI, ARI and AvgBio are averaged; their spread is
    part of the interval. They are not seeds of a training."""
    zero_shot_integration: Integration | None = None
    """Batch integration without fine-tuning."""
    czi: Czi | None = None
    """The tasks of cz-benchmarks: label prediction, clustering, embedding, batch integration."""
    probe: Probe | None = None
    """Linear classifiers on frozen embeddings, batches or donors held out."""
    transfer: Transfer | None = None
    """Linear classifiers and neighbours of one dataset, tested on others."""
    zero_shot_annotation: ZeroShotAnnotation | None = None
    """Labels by the ontology head, without fine-tuning."""
    ontology_structure: OntologyStructure | None = None
    """Whether cell types lie in the embedding as in the Cell Ontology."""
    finetuned_annotation: FinetunedAnnotation | None = None
    """Labels by fine-tuned checkpoints, on batches or donors held out."""
    mechanism_of_action: MechanismOfAction | None = None
    """What a drug does, told from cells treated with others of its class."""
    disease_subtype: DiseaseSubtype | None = None
    """A cluster of one cell type that carries a disease's marker signature."""

    gene_level: GeneLevel | None = None
    """What vectors of genes say of the genes; it has no datasets, and its own rules."""

    @property
    def tasks(self) -> dict[str, Task]:
        """Key and section of each task that scores embeddings and is run, in the order of the fields."""
        return {key: section for key, section in self if isinstance(section, Task) and section.datasets}

    @property
    def tables(self) -> list[str]:
        """Names of the tables of scores that are made."""
        return [*self.tasks, *(["gene_level"] if self.gene_level is not None else [])]

    @classmethod
    def kinds(cls) -> dict[str, type[Task]]:
        """Return the key of every task there is and the class of its section, in the order of the fields."""
        kinds = {}
        for key, field in cls.model_fields.items():
            for kind in typing.get_args(field.annotation):
                if isinstance(kind, type) and issubclass(kind, Task):
                    kinds[key] = kind
        return kinds

    @classmethod
    def kind(cls, key: str) -> type[Task]:
        """Return the class of a task's section; raise WcedError listing the tasks if there is no such one."""
        kinds = cls.kinds()
        if key not in kinds:
            raise WcedError(f"{key}: no such benchmark; there are {', '.join(kinds)}")
        return kinds[key]
