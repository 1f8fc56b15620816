"""Nothing that watches the platform learns who its customers are or what opens its doors.

Recognisable personal data and secrets go through every public route, as good input and as bad, and
are then looked for in every line of every log, every metric and every exported span.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from gateway.routing.packaged import packaged_route_file
from gateway.upstream.policy import ServicePolicy
from shared.services import PROCESSES
from tests.e2e.conftest import Watched
from tests.e2e.real_services import RealServices
from tests.e2e.test_hostile_input import CONCURRENCY, Request, described, operations, requests
from tests.spans import ended_spans

PHONE = "13912345678"
SECRETS: Mapping[str, str] = {
    "phone number": PHONE,
    "name": "欧阳明月澄",
    "e-mail address": "mingyue.ouyang.cheng@example.com",
    "id card": "110105199003078513",
    "transcript": "zhuanren zuoxi taigui wo yao tousu nimen",
    "token": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJxenh0b2tlbiJ9.c2lnbmF0dXJl",
    "key": "looma_qzxkeyqzxkeyqzxkeyqzxkeyqzxkeyqzxkey",
    "password": "correct-Horse-qzx-battery",
}


def needles() -> dict[str, tuple[bytes, ...]]:
    """What each secret may look like where it has leaked: as it is, in JSON, in a URL."""
    found = {}
    for kind, text in SECRETS.items():
        forms = {text, json.dumps(text)[1:-1], quote(text), quote(text).lower()}
        found[kind] = tuple(form.encode() for form in forms)
    return found


def leaks(places: Mapping[str, bytes]) -> list[str]:
    """Where which secret stands, with what is around it."""
    found = []
    for place, content in places.items():
        for kind, forms in needles().items():
            for form in forms:
                at = content.find(form)
                if at >= 0:
                    found.append(f"{kind} in {place}: {content[max(0, at - 300) : at + 80]!r}")
                    break
    return found


def test_a_leak_is_found_in_each_of_its_forms() -> None:
    name = SECRETS["name"]
    for text in (
        name,
        json.dumps({"n": name}),
        quote(f"/api/{name}"),
        f"x{name.encode()!r}"[:0] + name,
    ):
        assert leaks({"here": text.encode()})[0].startswith("name in here: ")
    assert leaks({"here": b"139****5678"}) == []


def hostile(document: dict[str, Any], chosen: tuple[str, ...]) -> list[Request]:
    """Each of `chosen` in every place of every operation, good or bad there."""
    words = tuple(quote(SECRETS[kind], safe="") for kind in chosen)
    values = (
        *(json.dumps(SECRETS[kind]) for kind in chosen),
        json.dumps({SECRETS[kind]: SECRETS[kind] for kind in chosen}),
        json.dumps([SECRETS[kind] for kind in chosen]),
    )
    return list(requests(document, words, values))


HEADERS = {
    "User-Agent": SECRETS["e-mail address"],
    "Referer": f"https://crm.test/{PHONE}?name={quote(SECRETS['name'])}",
    "Cookie": f"session={SECRETS['token']}",
    "X-Request-Id": PHONE,
    "tracestate": f"crm={PHONE}",
    "X-Forwarded-For": PHONE,
    "Accept-Language": SECRETS["key"],
}


def record(callid: str, user_id: str) -> dict[str, Any]:
    return {
        "callid": callid,
        "user_id": user_id,
        "customer_id": SECRETS["id card"],
        "phone": PHONE,
        "started_at": "2025-01-15T10:00:00+08:00",
        "duration_ms": 42_000,
        "call_status": "connected",
        "level_name": "B",
        "hangup_by": 2,
        "turns": [
            {"role": "customer", "at_ms": 900, "text": f"{SECRETS['transcript']} {PHONE}"},
            {"role": "agent", "at_ms": 1900, "text": f"{SECRETS['name']} {SECRETS['id card']}"},
        ],
    }


def good() -> Iterator[tuple[str, str, Any]]:
    """What is answered well, with personal data in all of its places."""
    name, email, password = SECRETS["name"], SECRETS["e-mail address"], SECRETS["password"]
    records = [record(f"call-{PHONE}", PHONE), record(f"call-{SECRETS['id card']}", name)]
    user = {"email": email, "name": name, "role": "analyst", "password": password}
    yield "POST", "/api/v1/calls", {"records": records}
    yield "POST", "/api/v1/calls", {"records": [{**records[0], "duration_ms": PHONE}]}
    yield "POST", "/api/v1/users", user
    yield "POST", "/api/v1/users", user  # there already
    yield "POST", "/api/v1/auth/login", {"email": email, "password": password}
    yield "POST", "/api/v1/auth/login", {"email": email, "password": SECRETS["token"]}
    yield "POST", "/api/v1/auth/login", {"email": PHONE, "password": PHONE}
    yield "POST", "/api/v1/auth/refresh", {"refresh_token": SECRETS["token"]}
    yield "POST", "/api/v1/keys", {"name": name, "role": "agent"}
    yield "POST", "/api/v1/admin/compute", {}
    for path in (
        f"/api/v1/calls/call-{PHONE}",
        f"/api/v1/calls?user_id={PHONE}",
        f"/api/v1/calls/search?q={quote(SECRETS['transcript'])}",
        f"/api/v1/calls/search?q={PHONE}",
        f"/api/v1/portrait/{PHONE}?period_type=month",
        f"/api/v1/portrait/{quote(name)}?period_type=week",
        f"/api/v1/portrait/trend?metric=total_calls&period_type=month&user_id={PHONE}",
        "/api/v1/users",
        "/api/v1/audit",
        f"/{PHONE}",
        f"/api/v1/{quote(email)}?token={SECRETS['token']}&phone={PHONE}",
    ):
        yield "GET", path, None
    items = [{"method": "GET", "path": f"/api/v1/portrait/{PHONE}?period_type=month"}]
    items += [{"method": "GET", "path": f"/api/v1/{quote(email)}"}, {"method": PHONE, "path": name}]
    yield "POST", "/api/v1/batch", {"requests": items}


async def send_all(url: str, headers: Mapping[str, str], sent: list[Request]) -> dict[int, int]:
    """How often which status was answered."""
    answered: dict[int, int] = {}
    waiting = enumerate(sent)

    async def work(client: httpx.AsyncClient) -> None:
        for number, (method, target, body) in waiting:
            full = httpx.URL(url).copy_with(raw_path=target.encode())
            own = {"Idempotency-Key": f"{PHONE}-{SECRETS['id card']}-{number}", "Prefer": "wait=5"}
            if body is not None:
                own["Content-Type"] = "application/json"
            got = await client.request(method, full, content=body, headers=own)
            answered[got.status_code] = answered.get(got.status_code, 0) + 1

    async with httpx.AsyncClient(headers=dict(headers), timeout=60) as client:
        await asyncio.gather(*(work(client) for _ in range(CONCURRENCY)))
        for credential in (
            {"Authorization": f"Bearer {SECRETS['token']}"},
            {"Authorization": f"Bearer {SECRETS['key']}"},
            {"X-Api-Key": SECRETS["key"]},
            {"Authorization": f"Basic {SECRETS['password']}"},
        ):
            got = await client.get(f"{url}/api/v1/calls?user_id={PHONE}", headers=credential)
            assert got.status_code == 401, got.text
    return answered


def encoded(sent: Iterator[tuple[str, str, Any]]) -> list[Request]:
    return [
        (method, path, None if body is None else json.dumps(body).encode())
        for method, path, body in sent
    ]


async def pages(url: str) -> dict[str, bytes]:
    """The metrics of every process."""
    found = {}
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"{url}/internal/targets")).json()
        targets = {group["labels"]["service"]: group["targets"][0] for group in told}
        assert len(targets) >= 3
        for service, target in (targets | {"gateway": urlsplit(url).netloc}).items():
            for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
                page = await client.get(f"http://{target}/metrics", headers={"Accept": accept})
                assert page.status_code == 200
                found[f"/metrics of {service} as {accept}"] = page.content
    return found


@pytest.mark.slow
async def test_a_phone_number_in_every_place_of_every_route_leaves_nothing_behind(
    whole: RealServices,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In one process; the slow test below sends all of them to a platform as it is run."""
    sent = hostile(await described(whole), ("phone number",))
    with ended_spans() as ended:
        answered = await send_all(whole.url, whole.headers | HEADERS, sent)
    assert answered.get(200, 0) > 10
    assert len(ended.spans) > 200
    printed = capsys.readouterr()
    places = {"output": printed.out.encode(), "errors": printed.err.encode()}
    places |= {
        "log": caplog.text.encode(),
        "spans": "".join(span.to_json() for span in ended.spans).encode(),
    }
    assert leaks(places | await pages(whole.url)) == []


@pytest.mark.slow
async def test_neither_logs_nor_metrics_nor_spans_tell_who_or_what(watched: Watched) -> None:
    token = await asyncio.to_thread(watched.token)
    headers = {"Authorization": f"Bearer {token}", **HEADERS}
    url = watched.platform.url
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client:
        document = (await client.get(f"{url}/openapi.json")).json()
    table = {(one.method, one.path) for one in packaged_route_file(ServicePolicy()).routes}
    assert table - {one[:2] for one in operations(document)} == set()
    answered = await send_all(url, headers, encoded(good()))
    assert answered[200] >= 10
    # A request that ends the session would leave nothing but 401 to those after it.
    sent = [one for one in hostile(document, tuple(SECRETS)) if "/auth/logout" not in one[1]]
    answered = await send_all(url, headers, sent)
    assert answered.get(200, 0) > 50
    assert answered.get(422, 0) > 50
    watched.collector.await_(lambda spans: any(s.name == "outbox graph" for s in spans))
    await asyncio.sleep(6)  # what is still on its way to the collector

    places = {path.name: path.read_bytes() for path in (watched.platform.home / "logs").iterdir()}
    places |= {"up's output": watched.platform.err.read_bytes()}
    places |= await pages(url)
    places |= {f"spans {n}": body for n, body in enumerate(watched.collector.bodies)}
    assert len(watched.collector.spans) > 1000
    services = {s.service for s in watched.collector.spans}
    assert services >= {f"looma-{process.name}" for process in PROCESSES}
    assert leaks(places) == []
