"""A drill that could not tell a lost call from a kept one would prove nothing."""

from typing import Any

import httpx
import pytest

from tests.chaos import recompute
from tests.chaos.load import Sample, complaint_about, outage, since
from tests.chaos.records import Fate, Ledger, Records


def read_back(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**record, "has_transcript": "turns" in record, **changes}


def written(fate: Fate, count: int = 2) -> tuple[Ledger, list[dict[str, Any]]]:
    records = Records("drill")
    ledger, sent = Ledger(), [records._one() for _ in range(count)]
    ledger.note(sent, fate)
    return ledger, sent


def test_what_is_there_as_it_was_sent_is_right() -> None:
    ledger, sent = written(Fate.ACKNOWLEDGED)
    found = [read_back(record) for record in sent]
    assert (ledger.lost(found), ledger.doubled(found), ledger.torn(found)) == ([], [], [])


def test_an_acknowledged_call_that_is_missing_or_changed_is_lost() -> None:
    ledger, (first, second) = written(Fate.ACKNOWLEDGED)
    found = [read_back(first, rounds=99)]
    assert ledger.lost(found) == [first["callid"], second["callid"]]


def test_an_unacknowledged_request_may_be_in_or_not_but_whole_and_once() -> None:
    ledger, (first, second) = written(Fate.UNKNOWN)
    both = [read_back(first), read_back(second)]
    for found in ([], both):
        assert (ledger.lost(found), ledger.doubled(found), ledger.torn(found)) == ([], [], [])
    assert ledger.torn(both[:1]) == [(first["callid"], second["callid"])]
    assert ledger.doubled([*both, both[0]]) == [first["callid"]]
    assert ledger.torn([both[0], read_back(second, rounds=99)]) == [(second["callid"],)]
    assert ledger.doubled([read_back(first, callid="stranger")]) == ["stranger"]


def test_a_call_without_the_transcript_that_came_with_it_is_torn() -> None:
    ledger, sent = written(Fate.ACKNOWLEDGED, 20)
    found = [read_back(record, has_transcript=False) for record in sent]
    assert ledger.torn(found) == [(r["callid"],) for r in sent if "turns" in r]


def test_after_a_doubtful_correction_either_is_right() -> None:
    ledger, (first, second) = written(Fate.ACKNOWLEDGED)
    changed = {**first, "duration_ms": 1}
    ledger.note_correction(changed, Fate.UNKNOWN)
    for seen in (first, changed):
        assert ledger.lost([read_back(seen), read_back(second)]) == []
    ledger.note_correction(changed, Fate.ACKNOWLEDGED)
    assert ledger.lost([read_back(first), read_back(second)]) == [first["callid"]]


def test_an_outage_ends_with_the_last_failed_answer() -> None:
    samples = [
        Sample("me", sent, sent + 0.5, status) for sent, status in ((10, 503), (12, 503), (14, 200))
    ]
    assert outage(samples, "me", began=10.0) == 2.5
    assert outage(samples, "call", began=10.0) == 0


def test_only_requests_answered_since_a_fault_began_are_its_own() -> None:
    before, under_way, after = (
        Sample("me", sent, sent + 0.5, 503) for sent in (7.0, 9.8, 12.0)
    )  # fmt: skip
    assert since([before, under_way, after], began=10.0) == [under_way, after]


def test_an_acknowledged_key_that_answers_otherwise_was_carried_out_twice() -> None:
    ledger, sent = written(Fate.ACKNOWLEDGED)
    found = [read_back(record) for record in sent]
    first = {"inserted": 2, "unchanged": 0}
    ledger.note_replay(sent, first, dict(first))
    assert ledger.doubled(found) == []
    ledger.note_replay(sent, first, {"inserted": 0, "unchanged": 2})
    assert ledger.doubled(found) == [record["callid"] for record in sent]


ENVELOPE = {"code": 1022, "error": "store_unavailable", "message": "later", "request_id": "r"}
RETRY = {"Retry-After": "1"}


@pytest.mark.parametrize(
    ("answer", "honest"),
    [
        (httpx.Response(201), True),
        (httpx.Response(503, json=ENVELOPE, headers=RETRY), True),
        (httpx.Response(503, json=ENVELOPE), False),
        (httpx.Response(503, json={"message": "no"}, headers=RETRY), False),
        (httpx.Response(503, text="<html>", headers=RETRY), False),
        (httpx.Response(500, json=ENVELOPE, headers=RETRY), False),
        (httpx.Response(401, json=ENVELOPE, headers=RETRY), False),
    ],
)
def test_a_failure_is_honest_in_its_envelope_with_retry_after(
    answer: httpx.Response, honest: bool
) -> None:
    assert (complaint_about(answer) == "") is honest


def test_a_portrait_is_recomputed_from_its_definition() -> None:
    def call(**facts: Any) -> dict[str, Any]:
        unknown = dict.fromkeys(
            (
                "level_name",
                "hangup_by",
                "sentiment",
                "sentiment_score",
                "complaint_risk",
                "churn_risk",
            )
        )
        base = {
            "user_id": "u",
            "started_at": "2025-03-31T00:30:00+08:00",
            "call_status": "connected",
        }
        return {**unknown, "duration_ms": 0, "rounds": 0, **base, **facts}

    calls = [
        call(duration_ms=1500, rounds=2, level_name="A", sentiment="positive", sentiment_score=0.5),
        call(duration_ms=500, hangup_by=2, sentiment="negative", sentiment_score=0.25),
        call(call_status="busy", duration_ms=9999),
    ]
    assert set(recompute.by_portrait(calls)) == {
        ("u", "week", "2025-W14"), ("u", "month", "2025-03"), ("u", "quarter", "2025-Q1"),
    }  # fmt: skip
    figures = recompute.expected(calls)
    assert figures["call_stats"] == {
        "total_calls": 3, "connected_calls": 2, "connect_rate": 2 / 3, "total_duration": 2.0,
        "avg_duration": 1.0, "total_rounds": 2, "avg_rounds": 1.0,
    }  # fmt: skip
    assert figures["sentiment_analysis"]["avg_score"] == 0.375
    assert figures["fail_reason_dist"] == {"busy": 1}
    off_by_one = {**figures, "hangup_dist": {"robot": 0, "user": 2}}
    assert recompute.differences(figures, off_by_one) == [".hangup_dist.user: 2, not 1"]
