"""What one client sends, over a real socket and into real stores: bad records, ids, times, cursors."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest

from ai_services.enrichment.imports.store import start_import
from gateway.http.path import normalise
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.enrichment.records import TURNS, record
from tests.ai_services.enrichment.test_calls_api import Api, api, config  # noqa: F401 - fixtures

GOOD = json.dumps(record("good", turns=TURNS))
ODD = [
    *(json.dumps({**record("odd"), name: 10**20}) for name in (*record(), "unknown", "turns")),
    *(json.dumps({**record("odd"), name: -(2**63) - 1}) for name in ("duration_ms", "rounds")),
    *(json.dumps({**record(f"n{at}"), name: 1})
      for at, name in enumerate(("a\u0001b", "a\nb", "\0", 'a"b', "a\\b", "\ud83d", ""))),
    *(json.dumps({**record("odd"), name: "a\ud83d"}) for name in ("callid", "user_id", "level_name")),
    json.dumps(record("odd", turns=[{"role": "customer", "text": "a\ud83d"}])),
    '{"callid": "odd", "duration_ms": 1e400}', '{"callid": NaN}', "9" * 5_000, "[" * 5_000 + "]" * 5_000,
    '{"callid": "a", "callid": "b"}', '{"a" 1}', '"\xff"', "tru", "null", "[]",
]  # fmt: skip


async def send(api: Api, *records: str) -> Any:  # noqa: F811 - the fixture
    body = f'{{"records": [\n{",".join(records)}\n]}}'.encode("latin-1")
    return await api.request("POST", "/api/v1/calls", content=body)


async def test_odd_records_are_refused_by_themselves(api: Api) -> None:  # noqa: F811
    answer = await send(api, GOOD, *ODD, json.dumps(record("last")))
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    results = data["results"]
    assert len(results) == len(ODD) + 2
    assert results[0]["status"] == results[-1]["status"] == "inserted"
    for result in results:
        assert result["status"] in ("inserted", "rejected", "duplicate")
        if result["status"] == "rejected":
            assert result["problem"]["problem"]
            assert result["problem"]["fix"]
    noted = [result for result in results if result["status"] != "rejected" and result.get("notes")]
    assert data["rejected"] + len(noted) >= 20  # a field that a call may lack is noted
    kept = await api.get(f"/api/v1/imports/{data['import_id']}/rejects", limit=1000)
    assert len(kept.json()["data"]["rejects"]) == data["rejected"]


IDS = [
    "a b",
    "客户-1",
    "😀",
    "100%",
    "a?b",
    "a#b",
    "a;b",
    "..a",
    "a..",
    "...",
    "Search",
    "summary",
    "trend",
    "é" * 64,
    "%2F",
]


async def test_every_id_that_is_taken_can_be_read_by_its_path(api: Api) -> None:  # noqa: F811
    refused = [
        "a/b",
        "a\\b",
        ".",
        "..",
        "search",
        "\u3164",
        "\u2800",
        "a\u200bb",
        "\x7f",
    ]
    sent = [json.dumps(record(one, user_id=one)) for one in (*IDS, *refused)]
    data = (await send(api, *sent)).json()["data"]
    statuses = [result["status"] for result in data["results"]]
    assert statuses == ["inserted"] * len(IDS) + ["rejected"] * len(refused)
    for one in IDS:
        path = normalise(f"/api/v1/calls/{quote(one, safe='')}".encode())
        answer = await api.get(path)
        assert answer.status_code == 200, (one, answer.text)
        assert answer.json()["data"]["callid"] == one


async def test_composed_and_decomposed_spellings_are_one_id(api: Api) -> None:  # noqa: F811
    nfd, nfc = "Jose\u0301", "Jos\u00e9"
    await send(api, json.dumps(record(nfd, user_id=nfd)))
    again = (await send(api, json.dumps(record(nfc, user_id=nfc)))).json()["data"]
    assert [(r["callid"], r["status"]) for r in again["results"]] == [(nfc, "unchanged")]
    for spelling in (nfd, nfc):
        assert (await api.get(f"/api/v1/calls/{quote(spelling)}")).status_code == 200
        listed = await api.get("/api/v1/calls", user_id=spelling)
        assert [call["callid"] for call in listed.json()["data"]["calls"]] == [nfc]


async def test_ranges_reach_to_the_ends_of_time(api: Api) -> None:  # noqa: F811
    await send(api, GOOD)
    zones = ("Z", "+14:00", "-12:00", "+00:00", "-23:59", "+23:59")
    days = ("0001-01-01", "0001-01-02", "9999-12-30", "9999-12-31")
    bounds = [
        *days,
        *(
            f"{day}T{at}{zone}"
            for day in days
            for at in ("00:00:00", "23:59:59.999999")
            for zone in zones
        ),
    ]
    for bound in bounds:
        for name in ("from", "to"):
            answer = await api.get("/api/v1/calls", user_id="account-1", **{name: bound})
            within = (name == "from") == bound.startswith("0001")
            assert answer.status_code == 200, (name, bound, answer.text)
            assert len(answer.json()["data"]["calls"]) == within, (name, bound)
    for spelling in ("2024-12-04t01:30:00z", "2024-12-04T01:30:00Z"):
        answer = await api.get("/api/v1/calls", user_id="account-1", **{"from": spelling})
        assert len(answer.json()["data"]["calls"]) == 1


async def walk(api: Api, limit: int) -> list[Any]:  # noqa: F811
    """All imports, page by page."""
    seen: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.get("/api/v1/imports", limit=limit, **cursor)).json()["data"]
        assert len(page["imports"]) <= limit
        seen += page["imports"]
        if page["next_cursor"] is None:
            return seen
        cursor = {"cursor": page["next_cursor"]}


async def test_pages_part_imports_of_one_instant(api: Api, database_url: str) -> None:  # noqa: F811
    """One transaction has one time: what began together differs by its id alone."""
    expected: set[str] = set()
    db = Postgres(database_url, pool_size=1)
    try:
        for together in (1, 5, 1, 3):
            async with db.tenant(api.org_id) as tx:
                made = [await start_import(tx, api.org_id, "api", "") for _ in range(together)]
            expected |= {str(import_id) for import_id in made}
    finally:
        await db.close()
    whole = (await api.get("/api/v1/imports")).json()["data"]["imports"]
    assert sorted(Counter(one["started_at"] for one in whole).values()) == [1, 1, 3, 5]
    assert {one["import_id"] for one in whole} == expected
    for limit in range(1, len(whole) + 1):
        assert await walk(api, limit) == whole


async def test_pages_of_imports_and_rejects_are_complete(api: Api) -> None:  # noqa: F811
    for _ in range(3):
        await send(api, "{}", "{}", "{}")
    listed = (await api.get("/api/v1/imports")).json()["data"]["imports"]
    seen = [one["import_id"] for one in await walk(api, 1)]
    assert seen == [one["import_id"] for one in listed]
    assert len(seen) == 3
    path = f"/api/v1/imports/{seen[0]}/rejects"
    first = (await api.get(path, limit=2)).json()["data"]
    rest = (await api.get(path, limit=2, cursor=first["next_cursor"])).json()["data"]
    assert [r["line"] for r in (*first["rejects"], *rest["rejects"])] == [1, 2, 3]
    foreign = await api.get(f"/api/v1/imports/{seen[1]}/rejects", cursor=first["next_cursor"])
    assert (foreign.status_code, foreign.json()["details"][0]["field"]) == (400, "cursor")


@pytest.mark.parametrize(
    "cursor", ["2024-12-04T09:30:00Z", "5", "x", "", "A" * 1001, "W10", "bnVsbA"]
)
async def test_a_cursor_that_no_list_gave_is_refused(api: Api, cursor: str) -> None:  # noqa: F811
    for path in ("/api/v1/imports", "/api/v1/calls?user_id=a"):
        answer = await api.request(
            "GET",
            path,
            params={"user_id": "a", "cursor": cursor} if "calls" in path else {"cursor": cursor},
        )
        assert answer.status_code == 422, answer.text
        assert answer.json()["details"][0]["field"] == "cursor"


async def test_the_cursor_of_long_ids_is_taken_back(api: Api) -> None:  # noqa: F811
    ids = [f"{at}{'𠮷' * 62}" for at in range(3)]
    await send(api, *(json.dumps(record(one)) for one in ids))
    page = (await api.get("/api/v1/calls", user_id="account-1", limit=1)).json()["data"]
    after = await api.get("/api/v1/calls", user_id="account-1", limit=9, cursor=page["next_cursor"])
    assert after.status_code == 200, after.text
    assert len(after.json()["data"]["calls"]) == 2
    other = await api.get("/api/v1/calls", user_id="other", cursor=page["next_cursor"])
    assert other.status_code == 400
    assert "start again" in other.json()["message"]


async def test_no_phone_number_is_left_in_what_is_kept(api: Api) -> None:  # noqa: F811
    number = "13812345678"
    odd = {
        "callid": "a", "duration_ms": "long", "caller": number, "主叫": int(number), number: 1,
        "nested": {"to": [f"+86 {number[:3]} {number[3:7]} {number[7:]}", 1.3812345678e10]},
        "phone": number, "turns": [{"role": "customer", "text": f"我的电话是{number}"}],
        "wide": number.translate(str.maketrans("0123456789", "０１２３４５６７８９")),
    }  # fmt: skip
    rows = [
        json.dumps({**record(), **odd}),
        json.dumps({**odd, "started_at": number}),
        f'{{"{number}',
        number,
    ]
    rows += [f'{{"{number}": 1, "{number}": 2}}', json.dumps(record(turns=[{"role": number}]))]
    answer = await send(
        api, *(row.replace("13812345678.0", "1.3812345678E10") for row in rows[:2]), *rows[3:]
    )
    data = answer.json()["data"]
    kept = await api.get(f"/api/v1/imports/{data['import_id']}/rejects")
    assert len(kept.json()["data"]["rejects"]) == data["rejected"] == 4
    # What a call may lack is noted, and masked likewise.
    assert data["noted"]
    notes = await api.get(f"/api/v1/imports/{data['import_id']}/notes")
    assert notes.json()["data"]["notes"]
    for text in (kept.text, notes.text, answer.text):
        assert "12345678" not in text.replace(" ", "")
        assert "3812345678" not in text
        assert "１２３４" not in text
