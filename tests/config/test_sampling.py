import pytest

from wced.config import check
from wced.config.corpus import Cells
from wced.errors import WcedError

SMALLEST = {
    "run": "small", "genes": {"gencode": {"path": "x"}, "hgnc": {"path": "y"}}, "census": {"datasets": ["a"]},
    "pretraining": {"checkpoints": {"m": {"wced": {}}}}, "embedding": {"datasets": []}, "benchmarks": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"kind": "cup"}, "cells.sampling.0.kind: 'cup' is not one of ['fraction', 'cap', 'total', 'stratified']"),
        ({"cells": 3}, "cells.sampling.0: 'kind' is a required property"),
        ({"kind": "cap", "by": ["tissue"]}, "cells.sampling.0: 'cells' is a required property"),
        ({"kind": "cap", "cells": 0, "by": ["tissue"]}, "cells.sampling.0.cells: 0 is less than the minimum of 1"),
        ({"kind": "cap", "cells": 9, "by": []}, "cells.sampling.0.by: [] should be non-empty"),
        (
            {"kind": "total", "cells": 9, "by": ["colour"]},
            "cells.sampling.0.by.0: 'colour' is not one of ['dataset_id'",
        ),
        ({"kind": "fraction", "fraction": 0.1, "by": ["tissue"]}, "cells.sampling.0: Additional properties are not"),
        (
            {"kind": "stratified", "by": "sex", "fractions": {"male": 2}},
            "fractions.male: 2 is greater than the maximum",
        ),
        ("fraction", "cells.sampling.0: 'fraction' is not of type 'object'"),
    ],
    ids=["kind", "no kind", "missing", "minimum", "empty", "column", "of another kind", "share", "no mapping"],
)
def test_an_error_is_that_of_the_intended_kind(step, message):
    with pytest.raises(WcedError) as refusal:
        check({**SMALLEST, "cells": {"sampling": [step]}})
    assert str(refusal.value).startswith("config, ") and message in str(refusal.value)


def test_steps_survive_the_command_line():
    cells = Cells.model_validate(
        {"sampling": [{"kind": "fraction", "fraction": 0.5}, {"kind": "cap", "cells": 3, "by": ["sex"]}]}
    )
    assert Cells.model_validate_json(cells.model_dump_json()) == cells
