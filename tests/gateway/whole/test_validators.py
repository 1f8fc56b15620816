"""ETag and 304 through the gateway: the same data have the same tag, nobody sees another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.http.stored_answer import StoredAnswer
from gateway.proxy.response_cache import ResponseCache
from shared.security import InternalTokens, Principal
from shared.serving.entity_tag import matches, weak_tag
from tests.gateway.conftest import SECRET, Platform, platform_in
from tests.gateway.wire import Behaviour, Received, answer, json_answer

ROUTES = """
[enrichment]
routes = [
  { method = "GET", path = "/api/kept", scope = "calls:read", cache = "60s" },
  { method = "GET", path = "/brief", scope = "calls:read", cache = "1s" },
  { method = "GET", path = "/api/plain", scope = "calls:read" },
  { method = "POST", path = "/things", scope = "calls:write" },
  { method = "POST", path = "/others", scope = "calls:write" },
]
"""
IDS = [str(UUID(int=number)) for number in range(1, 9)]


def service(data: str = "same") -> Behaviour:
    """Answers as our services do: an envelope, a tag over the data, 304 for who has them. What it
    says belongs to the organisation and the subject that ask.
    """

    async def behave(received: Received, writer: asyncio.StreamWriter) -> None:
        request_id = received.header("x-request-id") or ""
        token = received.header("x-internal-token") or ""
        who = InternalTokens(SECRET.encode()).verify(token, "enrichment")
        said = orjson.dumps({"for": f"{who.org_id} {who.subject} {who.role}", "data": data})
        tag = weak_tag(said)
        headers = {"ETag": tag} if received.method == "GET" else {}
        if headers and matches(received.header("if-none-match") or "", tag):
            writer.write(f"HTTP/1.1 304 X\r\nETag: {tag}\r\n\r\n".encode())
        else:
            body = b'{"code":0,"data":%b,"request_id":"%b"}' % (said, request_id.encode())
            writer.write(answer(200, body, headers=headers))
        await writer.drain()

    return behave


@pytest.fixture(scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory, redis_at: str
) -> AsyncIterator[Platform]:
    home = tmp_path_factory.mktemp("validators")
    (home / "routes.toml").write_text(ROUTES)
    async with platform_in(
        home, REDIS_URL=redis_at, GATEWAY_ROUTES=str(home / "routes.toml")
    ) as platform:
        yield platform


@pytest.fixture
def gate(running: Platform) -> Platform:
    running.behave(service())
    return running


@pytest.mark.parametrize("path", ["/api/kept", "/api/plain"])
async def test_every_answer_names_its_own_request(gate: Platform, path: str) -> None:
    mine = gate.auth.bearer(sub=f"user:{uuid4()}")
    for request_id in IDS[:4]:
        got = await gate.client.get(path, headers={**mine, "X-Request-Id": request_id})
        assert got.headers["x-request-id"] == got.json()["request_id"] == request_id
    assert len(gate.enrichment.requests) == (1 if path == "/api/kept" else 4)


@pytest.mark.parametrize("path", ["/brief", "/api/plain"])
async def test_what_has_not_changed_is_304_also_when_it_is_kept_no_more(
    gate: Platform, path: str
) -> None:
    mine = gate.auth.bearer(sub=f"user:{uuid4()}")
    first = await gate.client.get(path, headers=mine)
    assert first.headers["cache-control"].startswith("private, ")
    assert "authorization" in first.headers["vary"]
    for pause in (0.0, 1.1):
        await asyncio.sleep(pause)
        tagged = {**mine, "If-None-Match": f'"other", {first.headers["etag"]}'}
        got = await gate.client.get(path, headers=tagged)
        assert (got.status_code, got.content) == (304, b"")
        assert got.headers["etag"] == first.headers["etag"]
        assert "authorization" in got.headers["vary"]
    gate.behave(service("changed"))
    await gate.client.post("/things", headers=mine)
    got = await gate.client.get(path, headers=tagged)
    assert (got.status_code, got.json()["data"]["data"]) == (200, "changed")


async def test_a_tagged_question_fills_what_is_kept(gate: Platform) -> None:
    mine = gate.auth.bearer(sub=f"user:{uuid4()}")
    tag = (await gate.client.get("/api/plain", headers=mine)).headers["etag"]
    gate.enrichment.requests.clear()
    for _ in range(3):
        got = await gate.client.get("/api/kept", headers={**mine, "If-None-Match": tag})
        assert got.status_code == 304
    (asked,) = gate.enrichment.requests
    assert asked.header("if-none-match") is None


async def test_nobody_is_told_that_another_has_the_same(gate: Platform) -> None:
    """A tag of somebody else's answer is no proof of anything, kept or not."""
    for path in ("/api/kept", "/api/plain"):
        one = await gate.client.get(path, headers=gate.auth.bearer(sub=f"user:{uuid4()}"))
        tag = {"If-None-Match": one.headers["etag"]}
        other = await gate.client.get(path, headers={**gate.auth.bearer(), **tag})
        assert other.status_code == 200
        assert other.json()["data"]["for"] != one.json()["data"]["for"]
        assert (await gate.client.get(path, headers=tag)).status_code == 401


async def test_what_is_sent_again_is_answered_with_its_own_id(gate: Platform) -> None:
    headers = {**gate.auth.bearer(), "Idempotency-Key": str(uuid4())}
    for number, request_id in enumerate(IDS):
        got = await gate.client.post(
            "/things", json={}, headers={**headers, "X-Request-Id": request_id}
        )
        assert got.json()["request_id"] == got.headers["x-request-id"] == request_id
        assert ("idempotent-replayed" in got.headers) == bool(number)
        assert "etag" not in got.headers
    assert len(gate.enrichment.requests) == 1


@pytest.mark.parametrize("moved", ["/others", "/things?x=1"])
async def test_a_key_is_good_for_one_path_and_query(gate: Platform, moved: str) -> None:
    headers = {**gate.auth.bearer(), "Idempotency-Key": str(uuid4())}
    assert (await gate.client.post("/things", json={}, headers=headers)).status_code == 200
    got = await gate.client.post(moved, json={}, headers=headers)
    assert (got.status_code, got.json()["error"]) == (409, "conflict")
    assert len(gate.enrichment.requests) == 1


async def test_of_one_key_on_many_paths_at_once_one_is_carried_out(gate: Platform) -> None:
    headers = {**gate.auth.bearer(), "Idempotency-Key": str(uuid4())}
    got = await asyncio.gather(
        *(gate.client.post(path, json={}, headers=headers) for path in ("/things", "/others") * 4)
    )
    carried_out = {one.request.url.path for one in got if one.status_code == 200}
    assert len(carried_out) == len(gate.enrichment.requests) == 1
    assert {one.status_code for one in got} <= {200, 409}


async def test_an_answer_of_another_form_is_kept_as_it_is(gate: Platform) -> None:
    async def other(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(json_answer({"request_id": IDS[0], "data": received.header("x-request-id")}))
        await writer.drain()

    gate.behave(other)
    mine = gate.auth.bearer(sub=f"user:{uuid4()}")
    first = await gate.client.get("/api/kept", headers={**mine, "X-Request-Id": IDS[1]})
    again = await gate.client.get("/api/kept", headers={**mine, "X-Request-Id": IDS[2]})
    assert first.content == again.content == orjson.dumps({"request_id": IDS[0], "data": IDS[1]})


async def test_own_routes_have_validators_too(gate: Platform) -> None:
    admin = gate.auth.bearer("admin")
    first = await gate.client.get("/api/v1/gateway/routes", headers=admin)
    tagged = {**admin, "If-None-Match": first.headers["etag"]}
    got = await gate.client.get("/api/v1/gateway/routes", headers=tagged)
    assert (got.status_code, got.content) == (304, b"")
    assert first.headers["cache-control"] == "private, no-cache"
    assert (await gate.client.get("/api/v1/gateway/routes", headers={
        **gate.auth.bearer(), "If-None-Match": first.headers["etag"],
    })).status_code == 403  # fmt: skip


async def test_items_of_a_batch_may_be_conditional(gate: Platform) -> None:
    mine = gate.auth.bearer()
    tag = (await gate.client.get("/api/plain", headers=mine)).headers["etag"]
    items = [
        {"method": "GET", "path": path, "headers": {"if-none-match": asked}}
        for path, asked in product(("/api/plain", "/api/kept"), (tag, '"x"'))
    ]
    got = await gate.client.post("/api/v1/batch", json={"requests": items}, headers=mine)
    said = got.json()["data"]["responses"]
    assert [one["status"] for one in said] == [304, 200, 304, 200]
    for one in said:
        if one["body"] is not None:
            assert one["body"]["request_id"] == one["headers"]["x-request-id"]


PRINCIPALS = [
    Principal(UUID(int=org), subject, role, kind)
    for org, subject, role, kind in product(
        (1, 2), ("user:a", "key:a", "external:x:user:a"), ("admin", "agent"), ("user", "key")
    )
]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PRINCIPALS),
            st.sampled_from(["/a", "/b", "/a?x=1"]),
            st.sampled_from(["", "*", "own", "others"]),
            st.sampled_from(IDS),
            st.sampled_from([0.0, 1.0, 40.0]),
        ),
        max_size=40,
    )
)
def test_no_caller_is_ever_answered_with_what_another_was(
    asked: list[tuple[Principal, str, str, str, float]],
) -> None:
    now, tags = 100.0, {"*": "*"}
    cache = ResponseCache(CollectorRegistry(), clock=lambda: now)
    for who, target, condition, request_id, pause in asked:
        now += pause
        data = f"{who.org_id} {who.kind} {who.subject} {who.role} {target}".encode()
        told = {"own": weak_tag(data), "others": ", ".join(tags)}.get(condition, condition)
        path, mark, query = target.partition("?")
        question = cache.question("portrait", who, path, mark + query, 30.0)
        found = cache.find(question, told, "", request_id)
        if found is None:
            now += 0.1
            body = b'{"code":0,"data":"%b","request_id":"%b"}' % (data, request_id.encode())
            lines = [(b"content-type", b"application/json"), (b"etag", weak_tag(data).encode())]
            found = cache.keep(question, StoredAnswer.of(200, lines, body, request_id), told)
        tag = weak_tag(data)
        assert found.header(b"etag") == tag
        if found.status == 304:
            assert matches(told, tag)
            assert found.body == b""
        else:
            assert orjson.loads(found.body) == {
                "code": 0, "data": data.decode(), "request_id": request_id,
            }  # fmt: skip
        tags[tag] = tag
