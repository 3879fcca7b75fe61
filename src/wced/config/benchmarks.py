"""Config of the benchmarks: one key for each folder of `wced.benchmarks` that has a section."""

import pkgutil
from importlib import import_module

from pydantic import Field, create_model

import wced.benchmarks
from wced.benchmarks.task import Task
from wced.config.base import Section
from wced.errors import WcedError

ORDER = (
    "zero_shot_integration", "czi", "probe", "transfer", "zero_shot_annotation", "ontology_structure",
    "finetuned_annotation", "mechanism_of_action", "disease_subtype", "gene_level",
)  # fmt: skip
"""Order of the benchmarks in tables and in the report; those that are not named here follow by name."""


def _sections() -> dict[str, type[Section]]:
    """Return the key and the section of each benchmark, in order."""
    folders = [module.name for module in pkgutil.iter_modules(wced.benchmarks.__path__) if module.ispkg]
    modules = {name: import_module(f"wced.benchmarks.{name}") for name in sorted(folders, key=(*ORDER, *folders).index)}
    return {name: module.SECTION for name, module in modules.items() if hasattr(module, "SECTION")}


SECTIONS = _sections()


class _Settings(Section):
    """The benchmarks. Each key is a task, scored on its datasets; one that is null or has no datasets is not run."""

    neighbours: int = Field(15, ge=5)
    """Nearest neighbours, the cell itself among them, of the graph of an embedding that tasks share (scIB: 15)."""
    cluster_seeds: int = Field(5, ge=1)
    """Seeds of the Leiden clustering, from the run's on, over which NMI, ARI and AvgBio are averaged; their spread is
    part of the interval. They are not seeds of a training."""

    @property
    def tasks(self) -> dict[str, Task]:
        """Key and section of each task that scores embeddings and is run, in order."""
        return {key: section for key, section in self if isinstance(section, Task) and section.datasets}

    @property
    def tables(self) -> list[str]:
        """Names of the tables of scores that are made."""
        return [*self.tasks, *(["gene_level"] if self.gene_level is not None else [])]

    @classmethod
    def kinds(cls) -> dict[str, type[Task]]:
        """Return the key and the class of the section of every task there is, in order."""
        return {key: section for key, section in SECTIONS.items() if issubclass(section, Task)}

    @classmethod
    def kind(cls, key: str) -> type[Task]:
        """Return the class of a task's section; raise WcedError listing the tasks if there is no such one."""
        kinds = cls.kinds()
        if key not in kinds:
            raise WcedError(f"{key}: no such benchmark; there are {', '.join(kinds)}")
        return kinds[key]


Benchmarks = create_model(
    "Benchmarks",
    __base__=_Settings,
    __module__=__name__,
    __doc__=_Settings.__doc__,
    **{
        key: (section | None, Field(None, description=section.__doc__.partition("\n\n")[0]))
        for key, section in SECTIONS.items()
    },
)
