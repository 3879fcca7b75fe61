import pandas as pd
import pytest

from wced import parquet
from wced.errors import WcedError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "cells.parquet"
    pd.DataFrame({"cell": ["a", "b"] * 500, "n": range(1000)}).to_parquet(path, index=False)
    return path


def test_columns_come_in_the_order_asked_for(path):
    assert parquet.read(path, "cells", ["n", "cell"]).equals(pd.read_parquet(path, columns=["n", "cell"]))
    assert parquet.read(path, "cells").equals(pd.read_parquet(path))


def spoilt(path):
    """Damage a page of values; the file still opens."""
    content = bytearray(path.read_bytes())
    content[40:400] = bytes(360)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such file; expected cells"),
        (lambda path: path.write_text("cells"), "not a whole Parquet file: "),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a whole Parquet file: "),
        (spoilt, "not a whole Parquet file: "),
    ],
    ids=["missing", "text", "truncated", "damaged"],
)
def test_what_is_no_parquet_is_refused_by_name(path, spoil, message):
    spoil(path)
    with pytest.raises(WcedError, match=f"cells.parquet: {message}") as refusal:
        parquet.read(path, "cells")
    assert "\n" not in str(refusal.value)


def test_a_column_that_is_missing_is_named(path):
    with pytest.raises(WcedError, match=r"cells\.parquet: has no column m; expected cells"):
        parquet.read(path, "cells", ["n", "m"])
