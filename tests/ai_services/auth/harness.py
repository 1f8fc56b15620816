"""What the tests of the auth service share: a served instance, and a client that signs in as the
gateway would let it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import jwt

from ai_services.auth.routes import endpoints
from ai_services.auth.service import Auth, open_auth, operator
from ai_services.auth.sign_in.limit import SignInLimit
from ai_services.auth.sign_in.passwords import HashCost
from shared.config import Config
from shared.data_access.ports import Cache, Relational
from shared.security import ANONYMOUS, NO_ORG, InternalTokens, Principal
from shared.serving.service import BaseAIService

SECRET = "s" * 64
PASSWORD = "correct horse battery"
CHEAP = HashCost(memory_kib=8, passes=1)
GATEWAY = Principal(NO_ORG, "service:gateway", "service", "service")
TOKENS = InternalTokens(SECRET.encode())


class Clock:
    """The time of day, which tests move."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


def random_address() -> str:
    """An IPv6 network that no other test comes from."""
    part = uuid4().hex
    return f"2001:db8:{part[:4]}:{part[4:8]}::1"


@dataclass
class Served:
    """A running service: its use cases, and a client on its socket."""

    auth: Auth
    client: httpx.AsyncClient
    clock: Clock
    address: str = field(default_factory=random_address)

    async def call(
        self, principal: Principal, method: str, path: str, body: Any = None, **headers: str
    ) -> httpx.Response:
        """One request as the gateway forwards it."""
        sent = {
            "X-Internal-Token": TOKENS.mint(principal, "auth"),
            "X-Client-Address": self.address,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await self.client.request(method, path, json=body, headers=sent)

    async def login(self, email: str, password: str = PASSWORD) -> httpx.Response:
        body = {"email": email, "password": password}
        return await self.call(ANONYMOUS, "POST", "/api/v1/auth/login", body)

    async def refresh(self, token: str) -> httpx.Response:
        return await self.call(ANONYMOUS, "POST", "/api/v1/auth/refresh", {"refresh_token": token})

    async def tokens(self, email: str, password: str = PASSWORD) -> dict[str, Any]:
        answer = await self.login(email, password)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def principal(self, access_token: str) -> Principal:
        """The caller in an access token, verified with the published keys as the gateway does."""
        claims = await self.claims(access_token)
        return Principal(UUID(claims["org"]), claims["sub"], claims["role"], "user", claims["sid"])

    async def claims(self, access_token: str) -> dict[str, Any]:
        published = (await self.call(ANONYMOUS, "GET", "/.well-known/jwks.json")).json()
        keys = {key["kid"]: jwt.PyJWK(key) for key in published["keys"]}
        kid = jwt.get_unverified_header(access_token)["kid"]
        return jwt.decode(
            access_token, keys[kid], algorithms=["EdDSA"], audience="looma", issuer="looma",
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )  # fmt: skip

    async def organisation(self) -> Team:
        """A new organisation with one admin who is signed in."""
        slug = f"org-{uuid4().hex[:10]}"
        made = await self.auth.organisations.create(slug, "织", "Asia/Shanghai", actor="test")
        email = f"admin@{slug}.test"
        user = await self.auth.users.create(
            operator(made.org_id), email=email, name="Admin", role="admin", password=PASSWORD
        )
        admin = Principal(made.org_id, user.subject, "admin", "user", str(uuid4()))
        return Team(self, made.org_id, slug, email, admin)

    async def revoked(self) -> set[str]:
        answer = await self.call(GATEWAY, "GET", "/internal/v1/revocations?limit=5000")
        return {item["subject"] for item in answer.json()["data"]["items"]}


@dataclass
class Team:
    """An organisation in a test and its first admin."""

    served: Served
    org_id: UUID
    slug: str
    email: str
    admin: Principal

    @property
    def admin_id(self) -> str:
        return self.admin.subject.removeprefix("user:")

    async def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> httpx.Response:
        return await self.served.call(self.admin, method, path, body, **headers)

    async def add_user(self, role: str = "agent", **fields: Any) -> dict[str, Any]:
        body = {
            "email": f"{uuid4().hex[:10]}@{self.slug}.test",
            "name": "用户",
            "role": role,
            "password": PASSWORD,
            **fields,
        }
        answer = await self.call("POST", "/api/v1/users", body)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    async def audited(self, action: str) -> list[dict[str, Any]]:
        answer = await self.call("GET", "/api/v1/audit?limit=200")
        return [item for item in answer.json()["data"]["items"] if item["action"] == action]


@asynccontextmanager
async def serve(
    config: Config,
    relational: Relational,
    cache: Cache,
    *,
    limit: SignInLimit | None = None,
    cost: HashCost = CHEAP,
) -> AsyncIterator[Served]:
    """The service over these stores on a free port, without its background work."""
    clock = Clock()

    async def open_state(_service: BaseAIService[Auth], stack: AsyncExitStack) -> Auth:
        return stack.enter_context(
            open_auth(config, relational, cache, cost=cost, limit=limit, clock=clock)
        )

    service = BaseAIService("auth", config, endpoints=endpoints, open_state=open_state)
    async with (
        service.running(port=0) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        yield Served(service.state, client, clock)


class Gate:
    """A TCP relay in front of a server, which can be shut and opened again."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._open = True
        self._links: set[asyncio.StreamWriter] = set()
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Gate]:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = self._url(server.sockets[0].getsockname()[1])
        try:
            yield self
        finally:
            self.shut()
            server.close()
            await server.wait_closed()

    def shut(self) -> None:
        self._open = False
        for link in self._links:
            link.transport.abort()
        self._links.clear()

    def open(self) -> None:
        self._open = True

    def _url(self, port: int) -> str:
        """The target's URL with this relay for its address."""
        credentials = self._target.netloc.rpartition("@")[0]
        scheme, path = self._target.scheme, self._target.path
        if scheme == "unix":
            scheme, path = "redis", "/0"
        prefix = f"{credentials}@" if credentials else ""
        return f"{scheme}://{prefix}127.0.0.1:{port}{path}"

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.scheme == "unix":
            return await asyncio.open_unix_connection(self._target.path)
        folder = parse_qs(self._target.query).get("host")
        if folder is not None:
            return await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.5432")
        return await asyncio.open_connection(self._target.hostname, self._target.port)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        far_reader, far_writer = await self._connect()
        self._links |= {writer, far_writer}
        with contextlib.suppress(OSError):
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        self._links -= {writer, far_writer}
        writer.transport.abort()
        far_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
