import pandas as pd

from wced.learnability import published as module
from wced.learnability.annotation import programs
from wced.learnability.annotation.families import read_families
from wced.learnability.enrichment import PROGRAMS
from wced.learnability.published import published


def test_numbers_are_found_by_what_they_are_of():
    assert published("facts", "wced", "all", "winners") == "909"
    assert published("enrichment", "mlm", "all", "odds_ratio", "identity") == "2.92"
    assert published("facts", "mlm", "dense", "beat_null_fraction") == ""


def test_programs_and_families_are_called_as_in_the_annotation(found):
    assert set(PROGRAMS) == set(programs.PROGRAMS)
    groups = {group for table, _, _, group, _ in module._numbers() if table == "enrichment"}
    assert groups <= {*PROGRAMS, *read_families(None)["family"]}


def test_every_number_has_a_row_to_stand_in(found):
    facts = found.tables["learnability_facts"]
    agreement = found.tables["learnability_agreement"]
    shown = pd.concat([facts["published"], agreement["published"]])
    wanted = [value for (table, *_), value in module._numbers().items() if table != "enrichment"]
    assert sorted(shown[shown != ""]) == sorted(wanted)
