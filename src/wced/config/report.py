"""Config of the report."""

from pydantic import Field

from wced.config.base import LocalPath, Section


class Report(Section):
    """The page that shows a run."""

    title: str = "wced"
    """Heading of the page."""
    umap_neighbours: int = Field(15, ge=2)
    """Neighbours in the UMAP figures."""
    published: LocalPath = "config/published"
    """Folder of published numbers (TSV), shown below those of the run for the same task, dataset and metric."""
