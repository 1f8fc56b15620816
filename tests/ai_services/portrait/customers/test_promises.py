"""What is still to be done, and when somebody answers: by values."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ai_services.portrait.customers.best_time import best_time, lower_bound
from ai_services.portrait.customers.promises import open_promises
from ai_services.portrait.customers.store import CustomerCall

FRIDAY = {"said": "周五下午再打给我", "date": "2024-12-06", "time": "15:00"}
SOME_TIME = {"said": "call me later", "date": None, "time": None}


def call(day: int, hour: int = 10, status: str = "connected", **more: Any) -> CustomerCall:
    local = datetime(2024, 12, day, hour)
    facts: dict[str, Any] = {
        "callid": f"c{day}-{hour}", "started_at": local.replace(tzinfo=UTC), "local": local,
        "user_id": "u1", "call_status": status, "duration_ms": 1000, "level_name": None,
        "sentiment": None, "complaint_risk": None, "churn_risk": None, "reason": None,
        "analyzer": None, "updated_at": local.replace(tzinfo=UTC), "summary": None, "topic": None,
        "follow_up": None, "resolution": None, "callbacks": [], "evidence": [],
    }  # fmt: skip
    return CustomerCall(**facts | more)


def kept(*newest_first: CustomerCall) -> list[tuple[str, str]]:
    return [(one.kind, one.callid) for one in open_promises(newest_first)]


def test_a_follow_up_is_done_once_they_spoke_again() -> None:
    promised = call(2, follow_up="send the offer")
    assert kept(promised) == [("follow_up", "c2-10")]
    assert kept(call(3, status="no_answer"), promised) == [("follow_up", "c2-10")]
    assert kept(call(3), promised) == []


def test_a_callback_for_a_day_is_kept_on_that_day_or_later() -> None:
    promised = call(2, callbacks=[FRIDAY])
    (promise,) = open_promises([promised])
    assert (promise.due, promise.time, promise.text) == (
        date(2024, 12, 6), "15:00", "周五下午再打给我",
    )  # fmt: skip
    assert kept(call(5), promised) == [("callback", "c2-10")], "spoken before that day"
    assert kept(call(6, status="busy"), promised) == [("callback", "c2-10")]
    assert kept(call(6), promised) == []
    assert kept(call(9), call(5), promised) == []


def test_a_callback_for_no_day_is_kept_by_the_next_talk() -> None:
    promised = call(2, callbacks=[SOME_TIME, "not an object", {"date": "soon"}])
    assert kept(promised) == [("callback", "c2-10")] * 2
    assert kept(call(2, 11), promised) == []


def test_the_best_hour_is_the_surest_not_the_luckiest() -> None:
    calls = [
        *(call(day, 9, "connected" if day > 2 else "busy") for day in range(1, 21)),
        *(call(day, 14) for day in range(1, 4)),
        *(call(day, 18) for day in range(1, 3)),
    ]
    best = best_time(calls)
    assert best is not None
    assert (best.hour, best.calls, best.answered, best.rate) == (9, 20, 18, 0.9)
    assert best_time(calls[-2:]) is None
    assert best_time([call(day, 9, "busy") for day in range(1, 9)]) is None


@given(st.integers(1, 500), st.data())
def test_the_bound_is_wilsons(of: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, of))
    wanted = stats.binomtest(hits, of).proportion_ci(method="wilson").low
    assert abs(lower_bound(hits, of) - wanted) < 1e-4
