from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest

from ai_services.enrichment.validation.record import CALL_STATUSES, INTENTION_LEVELS
from looma_cli.work.demo.generate import ACCOUNTS, TROUBLED, generate_calls
from shared.errors import InvalidInput
from tests.ai_services.enrichment.calls_files import NOW, Folder, whole


def generated(n: int, seed: int = 7, **options: Any) -> list[dict[str, Any]]:
    data = b"".join(generate_calls(n, seed, **options))
    return [json.loads(line) for line in data.splitlines()]


@pytest.fixture(scope="module")
def calls() -> list[dict[str, Any]]:
    return generated(30_000)


def connected(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in calls if one["call_status"] == "connected"]


def test_the_same_seed_gives_the_same_bytes_in_any_process() -> None:
    code = (
        "import sys, hashlib\nfrom looma_cli.work.demo.generate import generate_calls\n"
        "print(hashlib.sha256(b''.join(generate_calls(3000, 11, bad_rows=0.1))).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    here = hashlib.sha256(b"".join(generate_calls(3000, 11, bad_rows=0.1))).hexdigest()
    assert digests == {here}


def test_another_seed_gives_other_calls() -> None:
    first, second = generated(50, 1), generated(50, 2)
    assert {one["callid"] for one in first}.isdisjoint(one["callid"] for one in second)
    assert {one["user_id"] for one in first}.isdisjoint(one["user_id"] for one in second)


@pytest.mark.parametrize("n", [0, 1, 2, 17, 400, 1001])
def test_it_gives_exactly_as_many_calls_as_asked(n: int) -> None:
    assert len(generated(n)) == n


def test_every_call_is_a_valid_record(tmp_path: Path) -> None:
    data = b"".join(generate_calls(5_000, 3))
    batches = Folder(tmp_path).batches("demo.jsonl", data, now=NOW)
    assert whole(batches).height == 5_000
    assert all(not (b.rejects or b.duplicates or b.warnings) for b in batches)


def test_calls_lie_in_the_year_before_the_end_in_order(calls: list[dict[str, Any]]) -> None:
    times = [one["started_at"] for one in generated(2_000, end=date(2024, 6, 30))]
    assert times == sorted(times)
    assert times[0].startswith("2023-07-0")
    assert times[-1].startswith("2024-06-30")
    assert calls[-1]["started_at"].startswith("2025-12-31")


def test_days_and_weeks_have_a_rhythm(calls: list[dict[str, Any]]) -> None:
    times = [datetime.fromisoformat(one["started_at"]) for one in calls]
    assert {time.hour for time in times} == set(range(9, 21))
    weekdays = Counter(time.weekday() for time in times)
    assert weekdays[6] < weekdays[5] < min(weekdays[day] for day in range(5)) / 2


def test_statuses_have_realistic_shares(calls: list[dict[str, Any]]) -> None:
    shares = Counter(one["call_status"] for one in calls)
    assert set(shares) == set(CALL_STATUSES)
    assert 0.55 < shares["connected"] / len(calls) < 0.65
    assert shares["no_answer"] > shares["busy"] > shares["failed"]


def test_accounts_and_customers_recur(calls: list[dict[str, Any]]) -> None:
    assert len({one["user_id"] for one in calls}) == ACCOUNTS
    per_customer = Counter(one["customer_id"] for one in calls)
    assert mean(per_customer.values()) > 3
    owners = {one["customer_id"]: (one["user_id"], one["phone"]) for one in calls}
    assert all(owners[one["customer_id"]] == (one["user_id"], one["phone"]) for one in calls)


def test_conversations_hang_together(calls: list[dict[str, Any]]) -> None:
    lengths = set()
    for one in connected(calls):
        turns = one["turns"]
        lengths.add(len(turns))
        times = [turn["at_ms"] for turn in turns]
        assert times == sorted(times)
        assert times[-1] < one["duration_ms"] <= one["bill_ms"]
        assert one["rounds"] == sum(turn["role"] == "customer" for turn in turns)
        assert one["hangup_by"] in (1, 2)
        assert not any("{" in turn["text"] for turn in turns)
    assert min(lengths) >= 5
    assert max(lengths) <= 14
    durations = [one["duration_ms"] for one in connected(calls)]
    assert mean(durations) > median(durations)  # a long tail to the right


def test_intention_follows_from_what_is_said(calls: list[dict[str, Any]]) -> None:
    def levels(*words: str) -> Counter[str]:
        return Counter(
            one["level_name"]
            for one in connected(calls)
            if any(word in turn["text"] for turn in one["turns"] for word in words)
        )

    assert {one["level_name"] for one in connected(calls)} == set(INTENTION_LEVELS)
    buying = levels("帮我登记", "sign me up")
    assert set(buying) <= set("ABC")
    leaving = levels("消协", "12315", "consumer protection")
    assert leaving["F"] > leaving["D"] + leaving["A"]


def test_both_languages_are_spoken(calls: list[dict[str, Any]]) -> None:
    english = sum(one["phone"].startswith("+1555") for one in calls) / len(calls)
    assert 0.2 < english < 0.3
    for one in connected(calls)[:500]:
        chinese = not one["phone"].startswith("+1555")
        first = one["turns"][0]["text"]
        assert chinese == any("一" <= c <= "鿿" for c in first)


def test_one_account_runs_into_trouble_at_the_end(calls: list[dict[str, Any]]) -> None:
    words = ("投诉", "12315", "太差", "换", "销户", "取消", "complaint", "cancel", "switching")

    def troubled(account: str, since: str, until: str) -> float:
        talks = [
            "".join(turn["text"] for turn in one["turns"])
            for one in connected(calls)
            if one["task_id"].endswith(account) and since <= one["started_at"] < until
        ]
        return sum(any(word in talk for word in words) for talk in talks) / len(talks)

    def change(account: str) -> float:
        before = troubled(account, "2025-01-01", "2025-11-20")
        return troubled(account, "2025-11-20", "2026-01-01") / before

    assert change(f"-{TROUBLED:02}") > 1.5
    assert 0.7 < change("-00") < 1.4


def test_transcripts_come_with_the_share_asked_for() -> None:
    assert all(one["turns"] is None for one in generated(300, transcripts=0))
    talks = connected(generated(4_000, transcripts=0.25))
    assert 0.2 < sum(one["turns"] is not None for one in talks) / len(talks) < 0.3
    assert all(one["rounds"] > 0 for one in talks)


def test_bad_rows_are_rejected_and_leave_the_others_as_they_are(tmp_path: Path) -> None:
    good = b"".join(generate_calls(2_000, 5)).splitlines()
    mixed = b"".join(generate_calls(2_000, 5, bad_rows=0.1)).splitlines()
    changed = [at for at, (a, b) in enumerate(zip(good, mixed, strict=True), 1) if a != b]
    assert 140 < len(changed) < 260
    batch = Folder(tmp_path).read("demo.jsonl", b"\n".join(mixed), now=NOW)
    assert [reject.line for reject in batch.rejects] == changed
    assert len({reject.field for reject in batch.rejects}) >= 7


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"n": -1}, "calls"),
        ({"n": 10**10}, "calls"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"transcripts": 1.5}, "transcripts"),
        ({"bad_rows": float("nan")}, "bad_rows"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        next(generate_calls(**{"n": 1, "seed": 1, **arguments}))
    assert [detail.field for detail in caught.value.details] == [field]
