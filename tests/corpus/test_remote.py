import pytest
import requests
import tiledbsoma as soma

from wced.config.corpus import Census
from wced.corpus import remote
from wced.errors import WcedError


@pytest.fixture
def waits(monkeypatch):
    """Waits between attempts, which are not waited for."""
    seconds = []
    monkeypatch.setattr("tenacity.nap.time.sleep", seconds.append)
    return seconds


def failing(times, failure):
    """A read that fails a number of times, then returns how often it was called."""
    calls = []

    def read():
        calls.append(None)
        if len(calls) <= times:
            raise failure
        return len(calls)

    return read


@pytest.mark.parametrize(
    ("attempts", "first", "expected"),
    [(5, 2.0, [2, 4, 8, 16]), (9, 2.0, [2, 4, 8, 16, 32, 60, 60, 60]), (4, 0.5, [0.5, 1, 2]), (1, 2.0, [])],
    ids=["default", "capped", "short", "once"],
)
def test_waits_double_up_to_a_minute(waits, attempts, first, expected):
    section = Census(attempts=attempts, retry_wait_seconds=first)
    with pytest.raises(WcedError, match=rf"^obs of there: lost \(after {attempts} attempts?\)$"):
        remote.retried(section, "obs of there", failing(99, OSError("lost")))
    assert waits == expected


def test_a_fault_that_passes_leaves_one_line_for_each_attempt(waits, capsys):
    failure = soma.SOMAError("S3: timeout\n   was reached")
    assert remote.retried(Census(), "obs", failing(2, failure)) == 3
    assert capsys.readouterr().out.splitlines() == [
        "obs: attempt 1 of 5 failed, again in 2 s: S3: timeout was reached",
        "obs: attempt 2 of 5 failed, again in 4 s: S3: timeout was reached",
    ]


def test_headers_of_an_answer_are_left_out():
    failure = soma.SOMAError(
        "S3: Failed to read[HTTP Response Code: 503] [Remote IP: 10.0.0.1] [Headers: 'a' = 'b' 'c' = 'd'] : No body."
    )
    assert remote.reason(failure) == "S3: Failed to read[HTTP Response Code: 503] : No body."
    assert remote.reason(ConnectionResetError()) == "ConnectionResetError"


@pytest.mark.parametrize(
    "failure",
    [
        soma.SOMAError("[TileDB::VFS] curlCode: 28, Timeout was reached"),
        soma.SOMAError("HTTP Response Code: 503"),
        soma.DoesNotExistError("'s3://bucket/census' does not exist"),
        ConnectionResetError(),
        TimeoutError(),
        requests.ConnectionError(),
        requests.JSONDecodeError("truncated", "{", 1),
    ],
    ids=["timeout", "503", "no_answer", "reset", "system", "requests", "body"],
)
def test_what_may_be_the_network(failure):
    assert remote.may_pass(failure)


@pytest.mark.parametrize(
    "failure",
    [
        soma.SOMAError("SOMAError: 'Column nope does not exist in schema'"),
        soma.SOMAError("Could not parse the given QueryCondition statement: nnz =="),
        soma.SOMAError("SOMAError: Cannot cast `a` to int64."),
        soma.SOMAError("S3: [HTTP Response Code: 403] AccessDenied"),
        FileNotFoundError("nowhere"),
        KeyError("obs"),
        ValueError("x"),
        WcedError("x"),
    ],
    ids=["column", "syntax", "cast", "denied", "no_file", "key", "value", "ours"],
)
def test_what_is_not_tried_again(failure, waits):
    with pytest.raises(type(failure)) as caught:
        remote.retried(Census(), "obs", failing(1, failure))
    assert caught.value is failure and waits == []


def test_a_wrong_filter_is_told_at_once(collection, waits):
    """What TileDB-SOMA really says of wrong filters and columns."""
    from wced.corpus.census import open_census

    with open_census(Census(uri=str(collection))) as census:
        obs = census["census_data"]["homo_sapiens"].obs
        for options in (
            {"value_filter": "nope == 'a'"},
            {"value_filter": "nnz == 'a'"},
            {"value_filter": "nnz =="},
            {"value_filter": "f(nnz)"},
            {"column_names": ["nope"]},
        ):
            with pytest.raises(soma.SOMAError):
                remote.retried(Census(), "obs", lambda options=options: obs.read(**options).concat())
    assert waits == []
