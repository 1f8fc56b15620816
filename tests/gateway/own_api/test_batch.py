"""Many requests in one: order, bounds, time, and failures that stay where they belong."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.stored_answer import StoredAnswer
from gateway.own_api.batch import ITEM_LIMIT, run_batch
from gateway.own_api.batch_items import SubRequest, read_items
from gateway.own_api.batch_schemas import BatchIn, BatchItem, BatchItemOut, BatchOut
from shared.errors import (
    Forbidden,
    InvalidInput,
    MalformedRequest,
    TooManyRequests,
    UnsupportedMediaType,
)

JSON = ((b"content-type", b"application/json"),)


def answered(data: Any, status: int = 200, *more: tuple[bytes, bytes]) -> StoredAnswer:
    return StoredAnswer(status, (*JSON, *more), orjson.dumps({"code": 0, "data": data}))


@dataclass
class Platform:
    """What stands behind the batch: it echoes, after a while, and notes what it saw."""

    seen: list[SubRequest] = field(default_factory=list)
    running: int = 0
    most: int = 0
    cancelled: int = 0

    async def execute(self, request: SubRequest) -> StoredAnswer:
        self.seen.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if request.target.startswith("/api/slow"):
                await asyncio.sleep(30)
            await asyncio.sleep(random.random() * 0.01)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return answered({"target": request.target})

    async def send(self, *items: Any, **more: float) -> list[dict[str, Any]]:
        return await sent(self.execute, *items, **more)


async def sent(execute: Any, *items: Any, **more: Any) -> list[dict[str, Any]]:
    """The answers as a client reads them."""
    data = await run_batch(orjson.dumps({"requests": items}), execute, **more)
    read = orjson.loads(orjson.dumps(data))
    BatchOut.model_validate(read)
    answers: list[dict[str, Any]] = read["responses"]
    return answers


def get(path: str, **more: Any) -> dict[str, Any]:
    return {"method": "GET", "path": path, **more}


async def test_answers_come_in_the_order_of_the_requests_ten_at_a_time() -> None:
    platform = Platform()
    answers = await platform.send(*(get(f"/api/x?n={number}") for number in range(100)))
    assert [answer["body"]["data"]["target"] for answer in answers] == [
        f"/api/x?n={number}" for number in range(100)
    ]
    assert platform.most == 10
    assert answers[0]["status"] == 200
    assert answers[0]["headers"] == {"content-type": "application/json"}
    assert len({request.request_id for request in platform.seen}) == 100
    assert all(UUID(request.request_id) for request in platform.seen)


async def test_an_item_is_passed_on_as_it_would_be_sent() -> None:
    platform = Platform()
    await platform.send(
        {
            "method": "POST",
            "path": "/api/v1/users?dry=1",
            "headers": {"Idempotency-Key": "k-1", "Accept": "*/*"},
            "body": {"name": "张伟", "n": 1},
        },
        {"method": "DELETE", "path": "/api/v1/users/7"},
        {"method": "PUT", "path": "/api/v1/x", "body": []},
    )
    seen = {request.method: request for request in platform.seen}
    assert seen["POST"].target == "/api/v1/users?dry=1"
    assert seen["POST"].headers == (
        ("idempotency-key", "k-1"),
        ("accept", "*/*"),
        ("content-type", "application/json"),
    )
    assert seen["POST"].body == '{"name":"张伟","n":1}'.encode()
    assert (seen["DELETE"].body, seen["DELETE"].headers) == (None, ())
    assert seen["PUT"].body == b"[]"


@pytest.mark.parametrize(
    ("item", "field", "status"),
    [
        ("GET /x", "item", 422),
        (None, "item", 422),
        ({"method": "GET"}, "path", 422),
        ({"method": "get", "path": "/api/x"}, "method", 422),
        ({"method": "CONNECT", "path": "/api/x"}, "method", 422),
        (get("x"), "path", 422),
        (get("https://elsewhere/x"), "path", 422),
        (get("/api/a b"), "path", 422),
        (get("/api/x\r\nhost: y"), "path", 422),
        (get("/api/x#y"), "path", 422),
        (get("/api/é"), "path", 422),
        (get("/" + "x" * 4096), "path", 422),
        (get("/%2e%2e/../x"), "path", 400),
        (get("/api/x%2Fy"), "path", 400),
        (get("/api/x", more=1), "more", 422),
        (get("/api/x", headers={"Authorization": "Bearer x"}), "headers.authorization", 422),
        (get("/api/x", headers={"X-User-Id": "1"}), "headers.x-user-id", 422),
        (get("/api/x", headers={"accept": "a\r\nx: y"}), "headers.accept", 422),
        (get("/api/x", headers={"accept": 1}), "headers.accept", 422),
        (get("/api/x", headers={str(n): "" for n in range(11)}), "headers", 422),
        (get("/metrics"), "path", 422),
        (get("/metrics?x=/api/v1/calls"), "path", 422),
        (get("/api/../metrics"), "path", 422),
        (get("/%6detrics"), "path", 422),
        (get("/"), "path", 422),
        (get("/api"), "path", 422),
        (get("/apis/x"), "path", 422),
        (get("/API/v1/calls"), "path", 422),
        (get("/api/v1/batch"), "path", 422),
        ({"method": "POST", "path": "/api/v1/./batch?x", "body": {}}, "path", 422),
        (get("/api/v1/%62atch"), "path", 422),
        (get("/api/v1/x/../batch"), "path", 422),
    ],
)
async def test_a_wrong_item_is_answered_in_its_place(item: Any, field: str, status: int) -> None:
    platform = Platform()
    first, wrong, last = await platform.send(get("/api/1"), item, get("/api/2"))
    assert (first["status"], last["status"]) == (200, 200)
    assert wrong["status"] == status
    assert wrong["body"]["code"] in (1002, 1003)
    assert wrong["body"]["details"][0]["field"] == field
    assert len(platform.seen) == 2


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ('{"method":"GET","path":"/api/x","body":1,"body":2}', "body"),
        ('{"method":"GET","path":"/api/x","bo\\u0064y":1,"body":2}', "body"),
        ('{"method":"GET","path":"\\udc00"}', "path"),
        ('{"method":"GET","path":"/api/x","headers":{"\\udc00":"a"}}', "headers.?"),
        ('{"method":"GET","path":1e400}', "path"),
        ('{"method":"GET","path":"/api/x","\\ud83d":1}', "?"),
        ('{"method":"POST","path":"/api/x","path":"/api/y"}', "path"),
        ("1e400", "item"),
        ('"\\udc00"', "item"),
        (
            '{"method":"GET","path":"/api/x","headers":{"accept":"a","accept":"b"}}',
            "headers.accept",
        ),
    ],
)
async def test_an_item_that_nobody_could_write_is_answered_in_its_place(
    item: str, field: str
) -> None:
    platform = Platform()
    body = f'{{"requests":[{{"method":"GET","path":"/api/1"}},{item}]}}'.encode()
    answers = (await run_batch(body, platform.execute))["responses"]
    assert [answer["status"] for answer in answers] == [200, 422]
    assert answers[1]["body"]["details"][0]["field"] == field


ODD = (
    '{"a":1e400}', '{"a":NaN}', '{"a":18446744073709551616}', "9" * 5000, '{"a":1,"a":2}',
    '{"a": 1.0, "b":[ 0.10 ]}', '"\\ud83d"', '{"\\ud800":1}', '"\xff"', '"\x01"', '"张\\u5f20"',
    "[" * 300 + "]" * 300, "[" + "1e400," * 60 + "0]", "-0", '"]}{[,\\"\\\\"', "true",
)  # fmt: skip


@given(st.lists(st.sampled_from(ODD), min_size=1, max_size=6), st.sampled_from(["", "\n\t "]))
@settings(max_examples=50, deadline=None)
def test_a_body_is_passed_on_as_it_is_written(bodies: list[str], space: str) -> None:
    """Whatever stands in it, and in the others: its service says what can't be taken."""
    sent = [one.encode("latin-1" if one == '"\xff"' else "utf-8") for one in bodies]
    gap = space.encode()
    items = [
        b'{"body":%b%b%b,"method":"POST",%b"path":"/api/x?%d"}' % (gap, one, gap, gap, number)
        for number, one in enumerate(sent)
    ]
    read = read_items(b'{"requests":%b[%b]}%b' % (gap, (b"," + gap).join(items), gap))
    requests = [one for one in read if isinstance(one, SubRequest)]
    assert [one.body for one in requests] == sent
    assert [one.target for one in requests] == [f"/api/x?{number}" for number in range(len(sent))]


async def test_a_wrong_item_harms_no_other_however_much_is_wrong_with_it() -> None:
    platform = Platform()
    bad = "{" + ",".join(f'"k{number}":1e400' for number in range(60)) + "}"
    wrong = '{"method":"GET","path":"/api/1","headers":' + bad + "}"
    late = '{"method":"GET","path":"/api/2","headers":{"accept":1e400,"accept":"\\ud800"}}'
    body = f'{{"requests":[{wrong},{late},{{"method":"GET","path":"/api/3"}}]}}'.encode()
    answers = (await run_batch(body, platform.execute))["responses"]
    assert [answer["status"] for answer in answers] == [422, 422, 200]


async def test_a_large_batch_is_read_beside_the_others() -> None:
    platform = Platform()
    items = [{"method": "POST", "path": "/api/x", "body": "语" * 3000} for _ in range(50)]
    assert {answer["status"] for answer in await platform.send(*items)} == {200}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", MalformedRequest),
        (b'{"requests":[{"method":"GET","path":"/api/x"}],"requests":[]}', InvalidInput),
        (b'{"requests":[], "a":1e400}', InvalidInput),
        ('{"requests":[]}'.encode("utf-16"), UnsupportedMediaType),
        (b"[", MalformedRequest),
        (b"[" * 100_000, MalformedRequest),
        (b'{"requests":[' + b"[" * 100_000, MalformedRequest),
        (b'{"requests":[{"method":"GET","path":"/api/x"}]', MalformedRequest),
        (b'{"requests":[{"method":"GET","path":"/api/x"},]}', MalformedRequest),
        (b'{"requests":[{"method":"GET","path":"/api/x"}]}]', MalformedRequest),
        (b'{"requests":[{"method":"GET" "path":"/api/x"}]}', MalformedRequest),
        (b'{"requests":[{"method":"GET","path":"/api/x","body":tru}]}', MalformedRequest),
        (b'{"requests":[{method:"GET"}]}', MalformedRequest),
        (b'{"\xff":1}', InvalidInput),
        (b"1e400", InvalidInput),
        (b"[]", InvalidInput),
        (b"{}", InvalidInput),
        (b'{"requests":[]}', InvalidInput),
        (b'{"requests":{}}', InvalidInput),
        (orjson.dumps({"requests": [get("/api/x")] * 101}), InvalidInput),
        (orjson.dumps({"requests": [get("/api/x")], "more": 1}), InvalidInput),
    ],
)
async def test_a_batch_that_is_none_is_refused_as_a_whole(
    body: bytes, error: type[InvalidInput]
) -> None:
    platform = Platform()
    with pytest.raises(error):
        await run_batch(body, platform.execute)
    assert not platform.seen


async def test_a_failure_is_that_items_own() -> None:
    async def execute(request: SubRequest) -> StoredAnswer:
        if request.target == "/api/forbidden":
            raise Forbidden("not for you")
        if request.target == "/api/limited":
            raise TooManyRequests("later", retry_after=7)
        if request.target == "/api/broken":
            raise RuntimeError("secret detail")
        if request.target == "/api/upstream":
            return answered(None, 404, (b"x-frame-options", b"DENY"), (b"retry-after", b"3"))
        return answered(1)

    names = ("fine", "forbidden", "limited", "broken", "upstream")
    fine, forbidden, limited, broken, upstream = await sent(
        execute, *(get(f"/api/{name}") for name in names)
    )
    assert fine["body"]["data"] == 1
    assert (forbidden["status"], forbidden["body"]["error"]) == (403, "forbidden")
    assert (limited["status"], limited["headers"]["retry-after"]) == (429, "7")
    assert (broken["status"], broken["body"]["error"]) == (500, "internal_error")
    assert "secret" not in str(broken)
    assert UUID(broken["body"]["request_id"])
    assert upstream["status"] == 404
    assert upstream["headers"] == {"content-type": "application/json", "retry-after": "3"}


async def test_at_the_deadline_what_is_done_stands_and_the_rest_is_504() -> None:
    platform = Platform()
    items = [get("/api/quick/1"), *(get(f"/api/slow/{n}") for n in range(10)), *(get(f"/api/quick/{n}") for n in range(5))]  # fmt: skip
    started = time.monotonic()
    answers = await platform.send(*items, deadline=0.3)
    assert time.monotonic() - started < 2
    assert [answer["status"] for answer in answers] == [200, *[504] * 15]
    assert "it may have been carried out" in answers[5]["body"]["message"]
    assert "was not begun" in answers[15]["body"]["message"]
    assert answers[5]["body"]["code"] == 1032
    assert (platform.cancelled, platform.running) == (10, 0)
    assert len(platform.seen) == 11


async def test_a_client_that_goes_away_ends_its_items() -> None:
    platform = Platform()
    sending = asyncio.create_task(platform.send(*(get(f"/api/slow/{n}") for n in range(20))))
    await asyncio.sleep(0.05)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert (platform.cancelled, platform.running) == (10, 0)


async def test_large_answers_are_left_out_and_said_so() -> None:
    async def execute(request: SubRequest) -> StoredAnswer:
        size = ITEM_LIMIT + (1 if request.target == "/api/over" else -2)
        return StoredAnswer(
            200, JSON, b'"' + b"x" * (size - (request.target == "/api/over") * 2) + b'"'
        )

    over, *others = await sent(execute, get("/api/over"), *(get("/api/fits") for _ in range(9)))
    assert (over["status"], over["body"], over["omitted"]) == (200, None, "too_large")
    assert [other.get("omitted") for other in others] == [None] * 8 + ["too_large"]
    assert len(others[0]["body"]) == ITEM_LIMIT - 2


@pytest.mark.parametrize(
    ("kind", "body", "read", "omitted"),
    [
        (b"application/json", b'{"a":12345678901234567890123}', {"a": 1.2345678901234568e22}, None),
        (b"application/json", b"{broken", "{broken", None),
        (b"text/csv", "姓名,分\n".encode(), "姓名,分\n", None),
        (b"application/octet-stream", b"\xff\xfe", None, "not_text"),
        (b"application/json", b"\xff", None, "not_text"),
        (b"application/json", b"", None, None),
    ],
)
async def test_bodies_come_as_json_or_text(
    kind: bytes, body: bytes, read: Any, omitted: str | None
) -> None:
    async def execute(_request: SubRequest) -> StoredAnswer:
        return StoredAnswer(200, ((b"content-type", kind),), body)

    (answer,) = await sent(execute, get("/api/x"))
    assert (answer["body"], answer.get("omitted")) == (read, omitted)


def test_the_wire_types_describe_themselves() -> None:
    for model in (BatchIn, BatchItem, BatchOut, BatchItemOut):
        assert model.model_json_schema()["type"] == "object"
    assert BatchIn.model_json_schema()["properties"]["requests"]["maxItems"] == 100
