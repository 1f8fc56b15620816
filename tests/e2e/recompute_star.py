"""Recompute every STAR portrait from the raw file and compare it with what the gateway answers.

    python tests/e2e/recompute_star.py FILE GATEWAY_URL TOKEN

Reads the file itself and shares no code with the platform: the rules are those that the preset
`star` and the portrait's definition state. Prints what differs; exit code 1 if anything does.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import sys
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Shanghai")
Key = tuple[str, str, str]  # user, period type, period key


def dialogues(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            dialogue = json.loads(line)
            if dialogue["start_unix"] is not None:
                yield dialogue


def periods(day: dt.date) -> list[tuple[str, str]]:
    year, week, _ = day.isocalendar()
    return [
        ("week", f"{year}-W{week:02}"),
        ("month", f"{day:%Y-%m}"),
        ("quarter", f"{day.year}-Q{(day.month + 2) // 3}"),
    ]


def recompute(path: Path) -> dict[Key, Counter[str]]:
    """Sums per user and period: calls, connected, milliseconds, rounds, hang-ups, failures."""
    sums: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    for dialogue in dialogues(path):
        spoken = [t["role"] for t in dialogue["turns"] if t["role"] in ("customer", "agent")]
        day = dt.datetime.fromtimestamp(dialogue["start_unix"], ZONE).date()
        facts = Counter(total=1)
        if spoken:
            facts["connected"] = 1
            facts["seconds"] = dialogue["duration_s"]
            facts["rounds"] = spoken.count("customer")
            facts["robot" if spoken[-1] == "agent" else "user"] = 1
        else:
            facts["failed"] = 1
        for period_type, key in periods(day):
            sums[dialogue["agent"], period_type, key].update(facts)
    return dict(sums)


def differences(expected: Counter[str], answer: dict[str, Any]) -> list[str]:
    """What of a portrait (or summary) does not follow from the sums."""
    stats, connected = answer["call_stats"], expected["connected"]
    exact = {
        "total_calls": (stats["total_calls"], expected["total"]),
        "connected_calls": (stats["connected_calls"], connected),
        "total_duration": (stats["total_duration"], expected["seconds"]),
        "total_rounds": (stats["total_rounds"], expected["rounds"]),
        "robot": (answer["hangup_dist"]["robot"], expected["robot"]),
        "user": (answer["hangup_dist"]["user"], expected["user"]),
        "failed": (answer["fail_reason_dist"].get("failed", 0), expected["failed"]),
        # Every connected dialogue was analysed, so each of these adds up to all of them.
        "sentiments": (sum(answer["sentiment_analysis"][k] for k in ("positive", "neutral", "negative")), connected),
        "complaints": (sum(answer["risk_analysis"]["complaint_risk"].values()), connected),
        "churn": (sum(answer["risk_analysis"]["churn_risk"].values()), connected),
        "intentions": (sum(answer["intention_dist"].values()), 0),
    }  # fmt: skip
    wrong = [f"{name}: {got} is not {want}" for name, (got, want) in exact.items() if got != want]
    ratios = {
        "connect_rate": connected / expected["total"],
        "avg_duration": expected["seconds"] / connected if connected else None,
        "avg_rounds": expected["rounds"] / connected if connected else None,
    }
    for name, want in ratios.items():
        got = stats[name]
        if (got is None) != (want is None) or (want is not None and abs(got - want) > 1e-9):
            wrong.append(f"{name}: {got} is not {want}")
    return wrong


class Gateway:
    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token

    def get(self, path: str) -> Any:
        request = urllib.request.Request(self._url + path)
        request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]


def compare(path: Path, gateway: Gateway) -> tuple[int, list[str]]:
    """(portraits compared, what is wrong)."""
    sums = recompute(path)
    wrong: list[str] = []
    by_period: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    users: defaultdict[tuple[str, str], int] = defaultdict(int)
    for (user, period_type, key), expected in sorted(sums.items()):
        query = f"period_type={period_type}&period_key={key}"
        answer = gateway.get(f"/api/v1/portrait/{quote(user, safe='')}?{query}")
        wrong += [f"{user} {key}: {text}" for text in differences(expected, answer)]
        by_period[period_type, key].update(expected)
        users[period_type, key] += 1
    for (period_type, key), expected in by_period.items():
        answer = gateway.get(f"/api/v1/portrait/summary?period_type={period_type}&period_key={key}")
        wrong += [f"summary {key}: {text}" for text in differences(expected, answer)]
        if answer["users"] != users[period_type, key]:
            wrong.append(f"summary {key}: {answer['users']} users, not {users[period_type, key]}")
    for period_type in ("week", "month", "quarter"):
        wrong += compare_series(gateway, period_type, by_period)
    return len(sums), wrong


def compare_series(
    gateway: Gateway, period_type: str, by_period: dict[tuple[str, str], Counter[str]]
) -> list[str]:
    """The trend and the list of periods against the sums."""
    expected = {
        key: sums["total"] for (kind, key), sums in by_period.items() if kind == period_type
    }
    path = f"/api/v1/portrait/trend?period_type={period_type}&limit=520&metric=total_calls"
    series = {p["period_key"]: p["value"] for p in gateway.get(path)["series"] if p["value"]}
    listed = gateway.get(f"/api/v1/periods?type={period_type}&limit=520")["periods"]
    missing = set(expected) - {period["key"] for period in listed}
    wrong = [f"{key} is not among the periods" for key in sorted(missing)]
    if series != expected:
        wrong.append(f"trend by {period_type}: {series} is not {expected}")
    return wrong


def main(arguments: list[str]) -> int:
    path, url, token = arguments
    compared, wrong = compare(Path(path), Gateway(url, token))
    for line in wrong[:50]:
        print(line)
    print(f"{compared} portraits compared, {len(wrong)} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
