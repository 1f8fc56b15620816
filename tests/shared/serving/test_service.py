"""A service over a real socket: authentication, validation, envelope, drain."""

import asyncio
import gzip
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import structlog
from pydantic import BaseModel, ConfigDict, Field
from sanic import exceptions as sanic_errors

from shared.config import Config
from shared.errors import ConfigError, LoomaError, NotFound, StoreUnavailable
from shared.security import ANONYMOUS, InternalTokens, Principal
from shared.serving.http_edge import translate_sanic
from shared.serving.service import BaseAIService, Call, Endpoint
from shared.telemetry.logs import name_request
from tests.spans import ended_spans

SECRET = "s" * 64
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
ADMIN = Principal(UUID(int=1), "user:1", "admin", "user")
AGENT = Principal(UUID(int=1), "user:2", "agent", "user")


@dataclass
class State:
    store_up: bool = True


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(10, ge=1, le=100)


class Body(BaseModel):
    text: str


class Echo(BaseModel):
    text: str
    by: str


async def echo(call: Call[State]) -> Echo:
    return Echo(text=call.body.text, by=call.principal.subject)


async def item(call: Call[State]) -> dict[str, object]:
    if call.params["id"] == "none":
        raise NotFound("There is no such item.")
    if call.params["id"] == "defect":
        raise RuntimeError("password=hunter2")
    if not call.state.store_up:
        raise StoreUnavailable("The store is down.")
    return {"id": call.params["id"], "limit": call.query.limit}


async def slow(_call: Call[State]) -> str:
    await asyncio.sleep(0.4)
    return "finished"


ENDPOINTS = [
    Endpoint("POST", "/api/v1/echo", echo, "users:admin", "Echo", body=Body, returns=Echo),
    Endpoint("GET", "/api/v1/items/{id}", item, "calls:read", "One item", query=Query),
    Endpoint("GET", "/api/v1/slow", slow, "public", "Slow"),
]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config.from_env(
        {"LOOMA_HOME": str(tmp_path), "INTERNAL_TOKEN_SECRET": SECRET, "SHUTDOWN_SECONDS": "3"}
    )


def token(principal: Principal, audience: str = "portrait", secret: str = SECRET) -> dict[str, str]:
    return {"X-Internal-Token": InternalTokens(secret.encode()).mint(principal, audience)}


def service(config: Config, state: State) -> BaseAIService[State]:
    async def open_state(svc: BaseAIService[State], _stack: AsyncExitStack) -> State:
        async def ping() -> None:
            if not state.store_up:
                raise StoreUnavailable("The store is down.")

        svc.check("store", ping)
        return state

    return BaseAIService("portrait", config, endpoints=ENDPOINTS, open_state=open_state)


@pytest.fixture
async def served(config: Config):
    state = State()
    async with (
        service(config, state).running(port=0) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        yield client, state


@pytest.mark.parametrize(
    ("item", "status", "lines_of_it"), [("none", 404, 1), ("defect", 500, 2), ("down", 503, 1)]
)
async def test_every_line_of_a_failed_request_names_request_trace_and_organisation(
    served, item: str, status: int, lines_of_it: int
) -> None:
    client, state = served
    state.store_up = item != "down"
    ids = {"request_id": "3f2a7c1e-9d1b-4c58-8d1f-0a4a8c1f5b11", "trace_id": "ab" * 16}
    headers = {
        **token(AGENT),
        "X-Request-Id": ids["request_id"],
        "traceparent": f"00-{ids['trace_id']}-0123456789abcdef-01",
    }
    with structlog.testing.capture_logs(processors=[name_request]) as lines:
        assert (await client.get(f"/api/v1/items/{item}", headers=headers)).status_code == status
        assert (await client.get("/api/v1/items/none")).status_code == 401
    *own, stranger = lines
    assert own[-1]["event"] == "request"
    assert all(line.items() >= {**ids, "org_id": str(AGENT.org_id)}.items() for line in own)
    assert len(own) == lines_of_it  # a defect's traceback has one of its own
    assert stranger["status"] == 401
    assert not {"org_id", "trace_id"} & stranger.keys()  # nothing is left of the one before


async def test_success_has_the_envelope_and_keeps_a_uuid_request_id(served) -> None:
    client, _ = served
    known = "3f2a7c1e-9d1b-4c58-8d1f-0a4a8c1f5b11"
    answer = await client.post(
        "/api/v1/echo", json={"text": "你好"}, headers={**token(ADMIN), "X-Request-Id": known}
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "code": 0,
        "data": {"text": "你好", "by": "user:1"},
        "request_id": known,
    }


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Internal-Token": "x.y.z"},
        {"X-User-Id": "user:1", "X-User-Role": "admin"},
        token(ADMIN, "enrichment"),
        token(ADMIN, secret="t" * 64),
        {"Authorization": "Bearer " + token(ADMIN)["X-Internal-Token"]},
        {"X-Internal-Token": b"\xff\xfe"},
    ],
    ids=["none", "garbage", "x-user", "audience", "foreign-key", "bearer", "bytes"],
)
async def test_only_an_internal_token_for_this_service_opens_it(served, headers) -> None:
    client, _ = served
    answer = await client.get("/api/v1/items/1", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthenticated")


async def test_role_without_the_scope_is_refused(served) -> None:
    client, _ = served
    answer = await client.post("/api/v1/echo", json={"text": "x"}, headers=token(AGENT))
    assert answer.status_code == 403
    answer = await client.post("/api/v1/echo", json={"text": "x"}, headers=token(ANONYMOUS))
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (b"", 400, None),
        (b"{", 400, "body"),
        (b'{"text": "\xff"}', 400, "body"),
        (b"[" * 100_000, 400, "body"),
        (b"{}", 422, "text"),
        (b'{"text": 5}', 422, "text"),
    ],
)
async def test_bad_bodies_name_field_problem_and_fix(served, content, status, field) -> None:
    client, _ = served
    answer = await client.post("/api/v1/echo", content=content, headers=token(ADMIN))
    assert answer.status_code == status
    details = answer.json()["details"]
    assert field is None or (details[0]["field"] == field and details[0]["fix"])


@pytest.mark.parametrize(
    ("content", "field", "problem"),
    [
        (b'{"text": "a", "text": "b"}', "text", "given twice"),
        (b'{"text": "a", "more": {"x": 1, "x": 2}}', "more.x", "given twice"),
        (b'{"text": 1e400}', "text", "not a finite number"),
        (b'{"text": "a", "more": NaN}', "more", "not a finite number"),
        (b'{"text": "a", "more": [99999999999999999999]}', "more.0", "beyond 64 bits"),
        (b'{"text": "a\\ud83d"}', "text", "surrogate"),
        (b'{"text": "a", "a\\udc00b": 1}', "a?b", "surrogate"),
    ],
)
async def test_what_a_later_step_could_not_write_is_named(served, content, field, problem) -> None:
    client, _ = served
    answer = await client.post("/api/v1/echo", content=content, headers=token(ADMIN))
    assert answer.status_code == 422
    detail = answer.json()["details"][0]
    assert (detail["field"], problem in detail["problem"]) == (field, True)


JSON = b'{"text": "x"}'


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (JSON, {}),
        (JSON, {"Content-Type": "application/json"}),
        (JSON, {"Content-Type": 'Application/JSON ; Charset="UTF-8"'}),
        (JSON, {"Content-Type": "application/merge-patch+json;charset=utf8"}),
        (JSON, {"Content-Encoding": "identity"}),
        (b"\xef\xbb\xbf" + JSON, {"Content-Type": "application/json; charset=utf-8"}),
    ],
)
async def test_json_in_utf_8_is_taken_whatever_it_is_called(served, content, headers) -> None:
    client, _ = served
    answer = await client.post("/api/v1/echo", content=content, headers=token(ADMIN) | headers)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("content", "headers", "field", "tells"),
    [
        (
            gzip.compress(JSON, mtime=0),
            {"Content-Encoding": "gzip"},
            "Content-Encoding",
            "accept-encoding",
        ),
        (JSON, {"Content-Encoding": "identity, br"}, "Content-Encoding", "accept-encoding"),
        (JSON, {"Content-Encoding": "DEFLATE"}, "Content-Encoding", "accept-encoding"),
        (JSON, {"Content-Type": "application/json; charset=gbk"}, "Content-Type", "accept"),
        (JSON, {"Content-Type": "application/json; charset=utf-16"}, "Content-Type", "accept"),
        (b"a,b\n", {"Content-Type": "text/csv"}, "Content-Type", "accept"),
        (
            b"text=x",
            {"Content-Type": "application/x-www-form-urlencoded"},
            "Content-Type",
            "accept",
        ),
        (b"--b--", {"Content-Type": "multipart/form-data; boundary=b"}, "Content-Type", "accept"),
        (JSON, {"Content-Type": "json"}, "Content-Type", "accept"),
        (gzip.compress(JSON, mtime=0), {}, "body", "accept"),
        (JSON.decode().encode("utf-16"), {}, "body", "accept"),
        (JSON.decode().encode("utf-16-le"), {}, "body", "accept"),
    ],
)
async def test_another_coding_or_type_is_415_and_says_what_is_taken(
    served, content, headers, field, tells
) -> None:
    client, _ = served
    answer = await client.post("/api/v1/echo", content=content, headers=token(ADMIN) | headers)
    assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_media_type")
    assert answer.json()["details"][0]["field"] == field
    assert answer.headers[tells] == (
        "identity" if tells == "accept-encoding" else "application/json"
    )


@pytest.mark.parametrize("target", ["/api/v1/items/1?limit=%ff",
                                    "/api/v1/items/1?%ed%a0%80=1"])  # fmt: skip
async def test_what_is_not_utf_8_is_400(served, target) -> None:
    client, _ = served
    answer = await client.get(target, headers=token(AGENT))
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed_request")


async def test_control_characters_are_no_id_and_no_word(served) -> None:
    client, _ = served
    for path in ("/api/v1/items/%00", "/api/v1/items/a%0Ab", "/api/v1/items/%ff"):
        assert (await client.get(path, headers=token(AGENT))).json()["error"] == "not_found"
    answer = await client.get("/api/v1/items/1?limit=%00", headers=token(AGENT))
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_input")


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limt=5", "limit=1&limit=2"])
async def test_bad_queries_are_422(served, query) -> None:
    client, _ = served
    answer = await client.get(f"/api/v1/items/1?{query}", headers=token(AGENT))
    assert answer.status_code == 422
    assert answer.json()["details"][0]["field"] in ("limit", "limt")


async def test_path_parameters_are_decoded_once(served) -> None:
    client, _ = served
    answer = await client.get("/api/v1/items/%E5%AE%A2%2541", headers=token(AGENT))
    assert answer.json()["data"] == {"id": "客%41", "limit": 10}


async def test_a_defect_says_nothing_about_itself(served) -> None:
    client, _ = served
    answer = await client.get("/api/v1/items/defect", headers=token(AGENT))
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["error"] == "internal_error"


async def test_unknown_path_and_wrong_method_have_the_envelope(served) -> None:
    client, _ = served
    assert (await client.get("/nowhere")).json()["error"] == "not_found"
    wrong = await client.delete("/api/v1/echo")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


async def test_too_large_a_body_is_413(served) -> None:
    client, _ = served
    answer = await client.post("/api/v1/echo", content=b"x" * (3 << 20), headers=token(ADMIN))
    assert answer.status_code == 413


async def test_readiness_follows_the_store(served) -> None:
    client, state = served
    assert (await client.get("/ready")).status_code == 200
    state.store_up = False
    down = await client.get("/ready")
    assert (down.status_code, down.headers["retry-after"]) == (503, "2")
    answer = await client.get("/api/v1/items/1", headers=token(AGENT))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    state.store_up = True
    assert (await client.get("/ready")).status_code == 200


async def test_metrics_count_by_route_template(served) -> None:
    client, _ = served
    for number in range(3):
        await client.get(f"/api/v1/items/{number}", headers=token(AGENT))
    page = (await client.get("/metrics")).text
    assert (
        'http_requests_total{method="GET",route="/api/v1/items/{id}",service="portrait",status="200"} 3.0'
        in page
    )


async def test_openapi_describes_every_endpoint(served) -> None:
    client, _ = served
    document = (await client.get("/openapi.json")).json()
    for endpoint in ENDPOINTS:
        assert (
            document["paths"][endpoint.path][endpoint.method.lower()]["x-scope"] == endpoint.scope
        )


async def test_a_stop_lets_the_request_in_flight_finish(config) -> None:
    async with httpx.AsyncClient() as client:
        async with service(config, State()).running(port=0) as url:
            pending = asyncio.create_task(
                client.get(f"{url}/api/v1/slow", headers=token(ANONYMOUS))
            )
            await asyncio.sleep(0.15)
        answer = await pending
    assert answer.json()["data"] == "finished"


async def test_a_taken_port_is_one_clear_line(config) -> None:
    async with service(config, State()).running(port=0) as url:
        port = int(url.rsplit(":", 1)[1])
        with pytest.raises(ConfigError, match=f"PORTRAIT_PORT: port {port} .* is taken"):
            async with service(config, State()).running(port=port):
                pass


async def test_work_ends_with_its_callers_deadline(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def endless(_call: Call[State]) -> str:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        return "never"

    async def started(_service: BaseAIService[State], _stack: AsyncExitStack) -> State:
        return State()

    config = Config.from_env({"LOOMA_HOME": str(tmp_path), "INTERNAL_TOKEN_SECRET": SECRET})
    service = BaseAIService(
        "portrait",
        config,
        endpoints=[Endpoint("GET", "/endless", endless, "self", "Never ends")],
        open_state=started,
    )
    token = InternalTokens(SECRET.encode()).mint(ADMIN, "portrait")
    async with service.running(port=0) as url, httpx.AsyncClient(base_url=url) as client:

        async def status(deadline: str) -> int:
            headers = {"X-Internal-Token": token, "X-Deadline-Ms": deadline.encode()}
            return (await client.get("/endless", headers=headers)).status_code

        assert await status("0") == 504
        assert not ended.is_set()
        assert await status("100") == 504
        assert ended.is_set()
        for wrong in ("soon", "", "-1", "1" * 20, "9" * 4301, "1.5", "٣"):
            assert await status(wrong) == 400
        assert await status("000000100") == 504


async def test_work_may_take_as_long_as_its_deadline_allows(config) -> None:
    # The longest deadline that the header can ask for.
    assert service(config, State()).app.config.RESPONSE_TIMEOUT > 999_999_999 / 1000


async def test_a_limit_of_the_server_itself_is_an_honest_504(config) -> None:
    limited = service(config, State())
    limited.app.config.RESPONSE_TIMEOUT = 0.1
    async with limited.running(port=0) as url, httpx.AsyncClient() as client:
        answer = await client.get(f"{url}/api/v1/slow", headers=token(ANONYMOUS))
    assert (answer.status_code, answer.json()["error"]) == (504, "upstream_timeout")
    assert answer.headers["Retry-After"] == "2"


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /api/v1/echo HTTP/1.1\r\nhost: x\r\n",
        b"POST /api/v1/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n{",
        b"POST /api/v1/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
)
async def test_a_request_that_stops_coming_is_408_and_its_connection_closed(config, sent) -> None:
    limited = service(config, State())
    limited.app.config.REQUEST_TIMEOUT = 0.2
    async with limited.running(port=0) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(sent)
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert b'"request_timeout"' in answer


async def test_a_body_that_keeps_coming_may_take_its_time(config) -> None:
    async def pieces():
        for piece in (b'{"te', b'xt":', b'"he', b'llo"}'):
            await asyncio.sleep(0.5)
            yield piece

    limited = service(config, State())
    limited.app.config.REQUEST_TIMEOUT = 1.5
    headers = {**token(ADMIN), "Content-Type": "application/json"}
    async with limited.running(port=0) as url, httpx.AsyncClient() as client:
        answer = await client.post(f"{url}/api/v1/echo", content=pieces(), headers=headers)
    assert answer.json()["data"]["text"] == "hello"


def test_no_exception_of_the_http_server_is_taken_for_a_defect() -> None:
    kinds = [
        sanic_errors.NotFound, sanic_errors.BadRequest, sanic_errors.RequestTimeout,
        sanic_errors.ServiceUnavailable, sanic_errors.PayloadTooLarge, sanic_errors.URITooLong,
        sanic_errors.ExpectationFailed, sanic_errors.Forbidden, sanic_errors.RequestCancelled,
        asyncio.CancelledError,
    ]  # fmt: skip
    for kind in kinds:
        shown = translate_sanic(kind())
        assert isinstance(shown, LoomaError), kind
        assert getattr(kind, "status_code", 503) in (shown.status, 403, 503)
        assert (shown.status >= 500) == ("Retry-After" in shown.headers())


async def scraped(url: str) -> str:
    """How a scrape on a connection of its own ends: with a whole page, or refused."""
    try:
        async with httpx.AsyncClient(timeout=2) as scraper:
            page = await scraper.get(f"{url}/metrics", headers={"Accept": OPENMETRICS})
    except httpx.ConnectError:
        return "refused"
    except httpx.RemoteProtocolError as error:
        # Anything else is a page that ends in its midst.
        return "refused" if "without sending a response" in str(error) else str(error)
    assert page.status_code == 200
    assert page.text.endswith("# EOF\n")
    return "whole"


async def test_a_scrape_while_a_process_stops_gets_a_whole_page_or_is_refused(
    config: Config,
) -> None:
    draining = replace(config, drain_delay_seconds=0.3)
    async with httpx.AsyncClient() as client:
        async with service(draining, State()).running(port=0) as url:
            pending = asyncio.create_task(
                client.get(f"{url}/api/v1/slow", headers=token(ANONYMOUS))
            )
            ends = {await scraped(url)}

            async def scrape_on() -> list[str]:
                found: list[str] = []
                while found[-1:] != ["refused"]:
                    found.append(await scraped(url))
                return found

            scraping = asyncio.create_task(scrape_on())
            await asyncio.sleep(0.1)
        ends |= set(await asyncio.wait_for(scraping, 5))
        assert (await pending).status_code == 200
    assert ends == {"whole", "refused"}


async def test_a_sampled_request_is_the_exemplar_of_its_bucket(config: Config) -> None:
    with ended_spans():
        async with (
            service(config, State()).running(port=0) as url,
            httpx.AsyncClient(base_url=url) as client,
        ):
            for flags, number in (("01", "a"), ("00", "b")):
                headers = {"traceparent": f"00-{number * 32}-{'7' * 16}-{flags}"}
                await client.get("/api/v1/items/1", headers=token(AGENT) | headers)
            rich = (await client.get("/metrics", headers={"Accept": OPENMETRICS})).text
            plain = await client.get("/metrics")
    assert re.search(rf'_bucket{{.+}} \S+ # {{trace_id="{"a" * 32}"}} \S+ \S+\n', rich)
    assert "b" * 32 not in rich
    assert plain.headers["content-type"].startswith("text/plain")
    assert "trace_id" not in plain.text
