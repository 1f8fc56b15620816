"""Hundreds of malformed, ambiguous and abusive requests, sent as bytes to a real gateway.

Each is sent three times: followed by a valid request once it is answered, together with that one,
and in pieces. None may reach the service as something else than it says, no answer may come out of
order, and nothing may be left behind.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import orjson
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.http.path import normalise
from shared.errors import LoomaError
from shared.security import InternalTokens, Principal
from tests.gateway.conftest import SECRET, Platform, platform_in
from tests.gateway.http_corpus.cases import Case, Forwarded, corpus, service_answers
from tests.gateway.http_corpus.recorder import Answer, Recorder, answers_in, recording
from tests.gateway.http_corpus.reference import Request, requests_in
from tests.gateway.issuer import ORG, USER, FakeAuth, Signer, b64, claims
from tests.gateway.wire import Behaviour, Received, always, exchange

ROUTES = """
[enrichment]
routes = [
  { method = "GET", path = "/echo/{id}", scope = "public" },
  { method = "POST", path = "/echo/{id}", scope = "public" },
  { method = "PUT", path = "/echo/{id}", scope = "public" },
  { method = "DELETE", path = "/echo/{id}", scope = "public" },
  { method = "POST", path = "/small/{id}", scope = "public", body_limit = 64 },
  { method = "GET", path = "/secret/{id}", scope = "users:admin" },
]
"""
AFTER = b"GET /echo/after HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CASES = corpus()
FAMILIES = sorted({case.family for case in CASES})


@dataclass
class Edge:
    """A gateway in front of a service that records, and credentials good and bad."""

    platform: Platform
    recorder: Recorder
    credentials: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.platform.url.rpartition(":")[2])

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)


@pytest.fixture(scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory, redis_at: str) -> AsyncIterator[Edge]:
    home = tmp_path_factory.mktemp("corpus")
    (home / "routes.toml").write_text(ROUTES)
    auth = FakeAuth()
    await auth.wire.start()
    try:
        async with (
            recording() as recorder,
            platform_in(
                home,
                REDIS_URL=redis_at,
                GATEWAY_ROUTES=str(home / "routes.toml"),
                GATEWAY_UPSTREAMS=f"auth={auth.wire.url},enrichment={recorder.url}",
            ) as platform,
        ):
            yield Edge(platform, recorder, credentials_of(auth))
    finally:
        await auth.wire.stop()


def credentials_of(auth: FakeAuth) -> dict[str, str]:
    signer, stranger = auth.signers[0], Signer.ed25519()
    principal = Principal(org_id=ORG, subject=f"user:{USER}", kind="user", role="admin")
    header = {"alg": "none", "typ": "JWT", "kid": signer.kid}
    unsigned = f"{b64(orjson.dumps(header))}.{b64(orjson.dumps(claims('admin')))}."
    return {
        "admin": auth.token("admin"),
        "agent": auth.token("agent"),
        "internal": InternalTokens(SECRET.encode()).mint(principal, "enrichment"),
        "unsigned": unsigned,
        "hmac": hmac_signed(signer),
        "stranger": stranger.sign(claims("admin")),
        "embedded": stranger.sign(claims("admin"), jwk=stranger.jwk()),
        "pointing": stranger.sign(claims("admin"), jku="http://127.0.0.1:1/keys", x5u="http://x"),
        "path": stranger.sign(claims("admin"), kid="../../dev/null"),
        "critical": signer.sign(claims("admin"), crit=["x"], x=1),
        "expired": auth.token("admin", exp=int(time.time()) - 3600),
        "audience": auth.token("admin", aud="somebody-else"),
        "issuer": auth.token("admin", iss="somebody-else"),
        "role": auth.token("root"),
    }


def hmac_signed(signer: Signer) -> str:
    """HS256 with the bytes of the public key (PyJWT itself refuses to make such a token)."""
    head = b64(orjson.dumps({"alg": "HS256", "typ": "JWT", "kid": signer.kid}))
    signed = f"{head}.{b64(orjson.dumps(claims('admin')))}"
    mac = hmac.new(signer.public_bytes(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{b64(mac)}"


# Ways to send a case. Each returns all answers that came until the gateway closed the connection.


async def one_by_one(edge: Edge, raw: bytes, answers: int) -> list[Answer]:
    """The next request once everything is answered."""
    reader, writer = await edge.connect()
    try:
        writer.write(raw)
        received = b""
        while part := await reader.read(1 << 18):
            received += part
            if whole(raw, received, answers):
                break
        try:
            writer.write(AFTER)
            received += await reader.read(-1)
        except ConnectionError:
            pass
        return read(raw, received)
    finally:
        writer.close()


async def together(edge: Edge, raw: bytes, _answers: int) -> list[Answer]:
    reader, writer = await edge.connect()
    try:
        writer.write(raw + AFTER)
        return read(raw, await reader.read(-1))
    finally:
        writer.close()


async def in_pieces(edge: Edge, raw: bytes, _answers: int) -> list[Answer]:
    reader, writer = await edge.connect()
    chance = random.Random(raw)
    cuts = sorted(chance.sample(range(1, len(raw)), min(3, len(raw) - 1)))
    data = raw + AFTER
    try:
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            writer.write(data[begin:end])
            await asyncio.sleep(0.001)
        return read(raw, await reader.read(-1))
    except ConnectionError:
        return []
    finally:
        writer.close()


def read(raw: bytes, received: bytes) -> list[Answer]:
    return answers_in(received, first_is_head=raw.startswith(b"HEAD "))


def whole(raw: bytes, received: bytes, count: int) -> bool:
    try:
        return len([one for one in read(raw, received) if one.status != 100]) >= count
    except AssertionError:
        return False


Way = Callable[[Edge, bytes, int], Awaitable[list[Answer]]]
WAYS: tuple[Way, ...] = (one_by_one, together, in_pieces)


async def problems_of(edge: Edge, case: Case, way: Way) -> list[str]:
    """What is wrong with how the gateway deals with this case."""
    edge.recorder.clear()
    raw = case.raw(edge.credentials.__getitem__)
    try:
        async with asyncio.timeout(5):
            answers = await way(edge, raw, len(case.statuses))
    except TimeoutError:
        return ["no end"]
    answers = [one for one in answers if one.status != 100]
    got = [one.status for one in answers]
    expected = [*case.statuses, *([200] if case.open else [])]
    # A body that comes in pieces may be refused before all of it is there.
    if way is in_pieces and case.open and got == list(case.statuses):
        expected = got
    found = [] if got == expected else [f"answers {got}, expected {expected}"]
    if answers and answers[-1].header("connection") != "close":
        found.append("closed without saying so")
    if len(answers) > len(case.statuses) and answers[-1].json().get("target") != "/echo/after":
        found.append("answers out of order")
    found += [x for one in answers if one.status >= 400 for x in envelope_problems(one)]
    requests = [one for one in edge.recorder.requests if one.target != "/echo/after"]
    found += forwarding_problems(case.forwarded, requests)
    return found


def envelope_problems(answer: Answer) -> list[str]:
    if answer.header("content-type") is None or not answer.body:
        return []  # of HEAD
    said = answer.json()
    if set(said) != {"code", "error", "message", "details", "request_id"}:
        return [f"no envelope: {answer}"]
    return []


def forwarding_problems(expected: tuple[Forwarded, ...], requests: list[Request]) -> list[str]:
    if [one.target for one in requests] != [one.target for one in expected]:
        return [f"forwarded {[one.target[:80] for one in requests]}"]
    found = []
    for want, got in zip(expected, requests, strict=True):
        if (got.method, got.body) != (want.method, want.body):
            found.append(f"forwarded {got.method} {got.body[:80]!r}")
        for name, value in want.has.items():
            if got.values(name) != [value]:
                found.append(f"{name}: {got.values(name)} instead of {value!r}")
        names = {name for name, _ in got.fields}
        for lacking in want.lacks:
            word = lacking[1:].encode()
            if lacking in names or (
                lacking.startswith("=") and any(word in value for _, value in got.fields)
            ):
                found.append(f"{lacking} passed")
    return found


async def leftovers(edge: Edge, tasks: set[asyncio.Task[object]]) -> list[str]:
    """Tasks that were not there before, and connections to the gateway, after a moment."""
    process = psutil.Process()
    for _ in range(50):
        left = [repr(one) for one in asyncio.all_tasks() - tasks if is_of_a_client(one)]
        left += [
            str(one)
            for one in process.net_connections("tcp")
            if one.laddr.port == edge.port and one.status != psutil.CONN_LISTEN
        ]
        if not left:
            return []
        await asyncio.sleep(0.02)
    return left


def is_of_a_client(task: asyncio.Task[object]) -> bool:
    """Kept connections to services have tasks at the service's end: those may stay."""
    return not any(end in repr(task.get_coro()) for end in ("recording", "Wire._serve"))


@pytest.mark.parametrize("family", FAMILIES)
async def test_nothing_malformed_gets_through(edge: Edge, family: str) -> None:
    before = asyncio.all_tasks()
    found = [
        f"{case} ({way.__name__}): {problem}"
        for case in CASES
        if case.family == family
        for way in WAYS
        for problem in await problems_of(edge, case, way)
    ]
    found += edge.recorder.wrong
    found += await leftovers(edge, before)
    edge.recorder.wrong.clear()
    assert not found, "\n".join(found)


def test_the_corpus_is_as_large_as_it_claims_to_be() -> None:
    assert len(CASES) >= 500
    names = Counter(str(case) for case in CASES)
    assert max(names.values()) == 1
    refused = [case for case in CASES if not case.forwarded]
    assert len(refused) >= 350


# The other direction.


@pytest.mark.parametrize("pieces", [False, True])
async def test_nothing_malformed_of_a_service_is_passed_on(
    platform: Platform, pieces: bool
) -> None:
    """In one piece it is 502; in pieces the answer may have begun, and then never looks whole."""
    found = []
    token = platform.auth.token()
    for case in service_answers():
        platform.behave(in_two(case.raw) if pieces else always(case.raw))
        raw = await exchange(
            platform.url,
            b"GET /api/v1/calls HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Authorization: Bearer %b\r\n\r\n" % token.encode(),
        )
        try:
            got = [(one.status, one.body) for one in answers_in(raw)]
        except (AssertionError, ValueError):
            got = []  # cut off
        if case.status == 502:
            if (got or not pieces) and [status for status, _ in got] != [502]:
                found.append(f"{case.name}: {raw!r}")
        elif got != [(case.status, case.body)]:
            found.append(f"{case.name}: {raw!r}")
    assert not found, "\n".join(found)


def in_two(raw: bytes) -> Behaviour:
    async def behave(_received: Received, writer: asyncio.StreamWriter) -> None:
        end = raw.find(b"\r\n\r\n") + 4
        cut = end if 4 <= end < len(raw) else len(raw) // 2
        writer.write(raw[:cut])
        await asyncio.sleep(0.01)
        writer.write(raw[cut:])

    return behave


# Mutated requests.

VALID = (
    b"GET /echo/1 HTTP/1.1\r\nHost: x\r\nAccept: a\r\n\r\n",
    b"POST /echo/2 HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nX: 1\r\n\r\nhello world",
    (
        b"POST /echo/3 HTTP/1.1\r\nHost: x:80\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n"
    ),
    b"GET http://x/echo/4?a=b HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    b"PUT /echo/5 HTTP/1.0\r\nHost: [::1]\r\nContent-Length: 0\r\n\r\n",
)
NASTY = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b"\t", b" ", b"\x0b", b"\x7f", b"\x80", b"\xff", b":", b";",
    b"=", b'"', b",", b"_", b"-", b"+", b"0", b"0x", b"1", b"ffffffffffffffff", b"%", b"%2e", b"..", b"/",
    b"#", b"Host: y\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Transfer-Encoding : chunked\r\n", b"HTTP/1.1", b"GET /echo/hidden HTTP/1.1\r\nHost: x\r\n\r\n",
    b"0\r\n\r\n", b"1\r\nZ\r\n", b" fold\r\n",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One or two valid requests after a few insertions, deletions and repetitions."""
    data = b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 3))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 6)))
        match draw(st.sampled_from(("insert", "replace", "delete", "repeat"))):
            case "insert":
                data = data[:begin] + draw(st.sampled_from(NASTY)) + data[begin:]
            case "replace":
                data = data[:begin] + draw(st.sampled_from(NASTY)) + data[end:]
            case "delete":
                data = data[:begin] + data[end:]
            case "repeat":
                data = data[:end] + data[begin:end] + data[end:]
    return data


async def answered(edge: Edge, data: bytes) -> list[Answer]:
    """What the gateway answers to these bytes and a further request. A connection on which it waits
    for more is given up."""
    reader, writer = await edge.connect()
    received = b""
    try:
        writer.write(data + AFTER)
        async with asyncio.timeout(0.4):
            while part := await reader.read(1 << 18):
                received += part
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return answers_in(received)


def may_be_forwarded(data: bytes) -> Counter[tuple[str, str, bytes]]:
    """The requests in these bytes that are as the RFC wants them, up to the first that is not."""
    found: Counter[tuple[str, str, bytes]] = Counter()
    for request in requests_in(data + AFTER)[0]:
        target = request.target
        if not target.startswith("/"):
            target = "/" + target.partition("//")[2].partition("/")[2]
        path, mark, query = target.encode().partition(b"?")
        try:
            spelling = normalise(path)
        except LoomaError:
            break  # answered 400, and the connection ends
        found[request.method, spelling + (mark + query).decode(), request.body] += 1
    return found


@settings(
    max_examples=120, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(batch=st.lists(mutated(), min_size=10, max_size=20))
async def test_mutated_requests_are_forwarded_only_if_the_reference_accepts_them(
    edge: Edge, batch: list[bytes]
) -> None:
    edge.recorder.clear()
    answers = await asyncio.gather(*(answered(edge, data) for data in batch))
    for data, got in zip(batch, answers, strict=True):
        assert all(one.status < 500 for one in got), (data, got)
        assert len([one for one in got if one.status == 200]) <= sum(
            may_be_forwarded(data).values()
        )
    allowed: Counter[tuple[str, str, bytes]] = Counter()
    for data in batch:
        allowed += may_be_forwarded(data)
    seen = Counter((one.method, one.target, one.body) for one in edge.recorder.requests)
    assert not seen - allowed, batch
    assert not edge.recorder.wrong
