"""Files of cz-benchmarks' datasets, by the names that it gives them."""

from pathlib import Path

from wced.errors import WcedError
from wced.files import whole_file


def download_czi_dataset(name: str, path: str | Path) -> None:
    """Write the h5ad file of a dataset that cz-benchmarks knows, as it is published.

    A row of the table of datasets then says how it becomes a harmonised one, as of any file.

    Parameters
    ----------
    name
        Name in cz-benchmarks, such as `tsv2_lung` (Tabula Sapiens v2, lung).
    path
        File to write.

    Raises
    ------
    WcedError
        If cz-benchmarks has no such dataset, or its file can not be downloaded.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from czbenchmarks.datasets.utils import list_available_datasets
    from czbenchmarks.exceptions import RemoteStorageError
    from czbenchmarks.file_utils import download_file_from_remote

    datasets = list_available_datasets()
    if name not in datasets:
        raise WcedError(f"{name}: cz-benchmarks has no such dataset; it has {', '.join(datasets)}")
    url = datasets[name]["url"]
    with whole_file(path) as temporary:
        try:
            # Its own cache would keep a second copy, and replace it after 30 days.
            downloaded = Path(download_file_from_remote(url, cache_dir=temporary.parent / "cache"))
        except (RemoteStorageError, BotoCoreError, ClientError) as error:
            raise WcedError(f"{name}: {url} can not be downloaded: {error.__cause__ or error}") from None
        downloaded.rename(temporary)
