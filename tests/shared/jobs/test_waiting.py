import pytest

from shared.jobs.waiting import wait_preference


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([], None),
        (["wait=10"], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async", 'Wait = "7"; unit=s'], 7),
        (["wait=100000"], 60),
        (["wait=0"], 0),
        (["wait=5, wait=9"], 5),
        (["wait=-1"], None),
        (["wait=soon"], None),
        (["await=5"], None),
        (["wait=٣"], None),
        (["wait=9999999999999"], None),
    ],
)
def test_how_long_a_client_wants_to_wait(fields: list[str], seconds: int | None) -> None:
    assert wait_preference(fields) == seconds
