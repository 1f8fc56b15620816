"""A key never counts for more than its owner does at the moment, and ends with them.

Written from an attacker's side: somebody who was an admin, and kept what they could.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from ai_services.auth import audit
from ai_services.auth.service import operator
from shared.data_access.migrate import CORE, migrate, read_migrations
from shared.data_access.postgres import Postgres
from shared.errors import Forbidden, NotFound
from shared.security import ROLE_SCOPES, USER_ROLES, Principal, lesser_role
from tests.ai_services.auth.harness import PASSWORD, Served, Team
from tests.ai_services.auth.test_api_keys import verify

KEYS = "/api/v1/keys"
USERS = "/api/v1/users"


@dataclass
class Insider:
    """A second admin, who is about to lose that."""

    served: Served
    team: Team
    user: dict[str, Any]
    principal: Principal

    async def key(self, role: str = "admin", by: Principal | None = None) -> dict[str, Any]:
        body = {"name": "kept", "role": role}
        answer = await self.served.call(by or self.principal, "POST", KEYS, body)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    async def counts_for(self, key: dict[str, Any]) -> str | None:
        """The role that the gateway is told; None if it is told that there is no such key."""
        answer = await verify(self.served, key["secret"])
        return answer.json()["data"]["role"] if answer.status_code == 200 else None

    async def lose(self, how: str) -> httpx.Response:
        path = f"{USERS}/{self.user['user_id']}"
        if how == "deleted":
            return await self.team.call("DELETE", path)
        body = {"disabled": {"disabled": True}, "enabled": {"disabled": False}}
        return await self.team.call("PATCH", path, body.get(how, {"role": how}))

    async def new_admin(self, by: Principal) -> httpx.Response:
        body = {"email": f"{uuid4().hex}@x.test", "role": "admin", "password": PASSWORD}
        return await self.served.call(by, "POST", USERS, body)


@pytest.fixture
async def insider(served: Served, team: Team) -> Insider:
    user = await team.add_user("admin")
    tokens = await served.tokens(user["email"])
    return Insider(served, team, user, await served.principal(tokens["access_token"]))


def as_key(insider: Insider, key: dict[str, Any]) -> Principal:
    """What a gateway that verified the key a moment ago sends still."""
    return Principal(insider.team.org_id, f"key:{key['key_id']}", key["role"], "key")


@pytest.mark.parametrize("how", ["disabled", "deleted"])
async def test_a_key_ends_with_its_owner_and_makes_no_admin_in_the_last_seconds(
    served, team, insider, how
) -> None:
    key = await insider.key()
    assert await insider.counts_for(key) == "admin"
    assert (await insider.lose(how)).status_code == 200
    assert await insider.counts_for(key) is None
    assert f"key:{key['key_id']}" in await served.revoked()
    # A gateway that has not heard yet lets both through: the service itself refuses.
    for caller in (as_key(insider, key), insider.principal):
        assert (await insider.new_admin(caller)).status_code == 401
        answer = await served.call(caller, "POST", KEYS, {"name": "again", "role": "agent"})
        assert answer.status_code == 401
        assert (await served.call(caller, "DELETE", f"{USERS}/{team.admin_id}")).status_code == 401
        path = f"{USERS}/{team.admin_id}"
        assert (await served.call(caller, "PATCH", path, {"role": "agent"})).status_code == 401
        body = {"password": "taken over by me"}
        assert (await served.call(caller, "POST", f"{path}/password", body)).status_code == 401
    [listed] = (await team.call("GET", KEYS)).json()["data"]["items"]
    assert (listed["role_now"], listed["revoked_at"] is None) == (None, False)
    [entry] = await team.audited("user.deleted" if how == "deleted" else "user.updated")
    assert entry["details"]["keys_ended"] == [f"key:{key['key_id']}"]


@pytest.mark.parametrize("how", ["analyst", "agent", "service"])
async def test_a_demoted_owners_key_counts_for_what_the_owner_is(
    served, team, insider, how
) -> None:
    key = await insider.key()
    assert (await insider.lose(how)).status_code == 200
    assert await insider.counts_for(key) == how
    assert f"key:{key['key_id']}" in await served.revoked()  # gateways ask again
    for caller in (as_key(insider, key), replace(insider.principal, session=str(uuid4()))):
        assert (await insider.new_admin(caller)).status_code == 403
        answer = await served.call(caller, "POST", KEYS, {"name": "again", "role": "agent"})
        assert answer.status_code == 403
    [listed] = (await team.call("GET", KEYS)).json()["data"]["items"]
    assert (listed["role"], listed["role_now"]) == ("admin", how)
    assert (await insider.lose("admin")).status_code == 200
    assert await insider.counts_for(key) == "admin"


async def test_a_role_raised_later_raises_no_key(team, insider) -> None:
    low = await insider.key("agent")
    assert (await insider.lose("analyst")).status_code == 200
    assert await insider.counts_for(low) == "agent"
    assert (await insider.lose("admin")).status_code == 200
    assert await insider.counts_for(low) == "agent"


async def test_a_key_that_ended_stays_ended_when_its_owner_comes_back(team, insider) -> None:
    key = await insider.key("agent")
    for how in ("disabled", "enabled"):
        assert (await insider.lose(how)).status_code == 200
    assert await insider.counts_for(key) is None
    answer = await team.call("POST", f"{KEYS}/{key['key_id']}/transfer", {"role": "agent"})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


async def test_a_key_made_by_a_key_belongs_to_the_same_user(team, insider) -> None:
    first = await insider.key()
    second = await insider.key(by=as_key(insider, first))
    third = await insider.key(by=as_key(insider, second))
    assert {second["owner_id"], third["owner_id"]} == {insider.user["user_id"]}
    assert (await team.call("DELETE", f"{KEYS}/{first['key_id']}")).status_code == 200
    assert await insider.counts_for(third) == "admin"  # its owner is as before
    assert (await insider.lose("disabled")).status_code == 200
    assert await insider.counts_for(second) is await insider.counts_for(third) is None


async def test_a_revoked_key_makes_no_other(served, team, insider) -> None:
    key = await insider.key()
    assert (await team.call("DELETE", f"{KEYS}/{key['key_id']}")).status_code == 200
    assert (await insider.new_admin(as_key(insider, key))).status_code == 401


async def test_a_key_of_another_organisation_says_nothing_here(
    served, team, other, insider
) -> None:
    key = await insider.key()
    stolen = replace(as_key(insider, key), org_id=other.org_id)
    assert (await insider.new_admin(stolen)).status_code == 401
    for method, end in (("DELETE", ""), ("POST", "/transfer")):
        body = {"role": "agent"} if end else None
        answer = await other.call(method, f"{KEYS}/{key['key_id']}{end}", body)
        assert answer.status_code == 404
    assert await insider.counts_for(key) == "admin"


async def test_keys_made_while_their_maker_is_disabled_end_or_are_not_made(
    served, team, insider
) -> None:
    async def make() -> httpx.Response:
        return await served.call(insider.principal, "POST", KEYS, {"name": "k", "role": "admin"})

    made = await asyncio.gather(
        *(make() for _ in range(6)), insider.lose("disabled"), *(make() for _ in range(6))
    )
    answers = made[:6] + made[7:]
    assert {answer.status_code for answer in answers} <= {201, 401}
    for answer in answers:
        if answer.status_code == 201:
            assert await insider.counts_for(answer.json()["data"]) is None
    listed = (await team.call("GET", f"{KEYS}?limit=200")).json()["data"]["items"]
    assert all(key["role_now"] is None for key in listed)


async def test_a_key_handed_to_the_organisation_stays_with_the_stated_role(
    served, team, insider
) -> None:
    key = await insider.key()
    path = f"{KEYS}/{key['key_id']}/transfer"
    answer = await team.call("POST", path, {"role": "service"})
    assert answer.status_code == 200, answer.text
    given = answer.json()["data"]
    assert (given["owner_id"], given["role"], given["role_now"]) == (None, "service", "service")
    assert f"key:{key['key_id']}" in await served.revoked()  # gateways ask again
    assert (await team.call("POST", path, {"role": "service"})).status_code == 200  # said again
    assert (await insider.lose("deleted")).status_code == 200
    assert await insider.counts_for(key) == "service"
    assert (await team.call("POST", path, {"role": "agent"})).status_code == 200
    assert (await team.call("POST", path, {"role": "analyst"})).status_code == 403  # never up
    assert await insider.counts_for(key) == "agent"
    last, first = await team.audited("key.transferred")
    assert first["actor"] == team.admin.subject
    assert first["details"] == {
        "name": "kept", "prefix": key["prefix"], "owner": "organisation", "role": "service",
        "owner_before": f"user:{insider.user['user_id']}", "role_before": "admin",
    }  # fmt: skip
    assert last["details"]["role_before"] == "service"


async def test_nobody_hands_over_more_than_key_and_caller_have(served, team, insider) -> None:
    admin, agent = await insider.key(), await insider.key("agent")
    path = f"{KEYS}/{admin['key_id']}/transfer"
    # An admin's rights always have somebody behind them.
    assert (await team.call("POST", path, {"role": "admin"})).status_code == 403
    answer = await team.call("POST", f"{KEYS}/{agent['key_id']}/transfer", {"role": "analyst"})
    assert answer.status_code == 403
    for role in ("analyst", "agent", "service"):
        caller = Principal(team.org_id, f"user:{uuid4()}", role, "user")
        assert (await served.call(caller, "POST", path, {"role": "agent"})).status_code == 403
    assert (await insider.lose("analyst")).status_code == 200
    lost = replace(insider.principal, session=str(uuid4()))
    assert (await served.call(lost, "POST", path, {"role": "agent"})).status_code == 403
    assert (await team.call("POST", path, {"role": "service"})).status_code == 200
    assert (
        await team.call("POST", f"{KEYS}/{uuid4()}/transfer", {"role": "agent"})
    ).status_code == 404
    for body in ({}, {"role": "anonymous"}, {"role": "agent", "owner": "me"}):
        assert (await team.call("POST", path, body)).status_code == 422
    assert await team.audited("key.transferred") != []


async def test_whoever_has_no_account_here_makes_keys_of_the_organisation(served, team) -> None:
    """People of the organisation's own identity provider, and the operator: nobody could say when
    such an owner loses their rights."""
    outside = Principal(team.org_id, "external:acme:li", "admin", "user")
    for caller in (outside, replace(team.admin, subject=f"user:{uuid4()}")):
        answer = await served.call(caller, "POST", KEYS, {"name": "k", "role": "admin"})
        assert answer.status_code == 403
        made = await served.call(caller, "POST", KEYS, {"name": "k", "role": "analyst"})
        assert (made.status_code, made.json()["data"]["owner_id"]) == (201, None)


async def test_the_operator_names_the_user_who_owns_a_key(served, team, other, insider) -> None:
    keys, me = served.auth.api_keys, operator(team.org_id)
    email = insider.user["email"]
    made = await keys.create(me, name="k", role="admin", owner_email=email.upper())
    assert str(made.key.owner_id) == insider.user["user_id"]
    with pytest.raises(Forbidden, match="needs a user"):
        await keys.create(me, name="k", role="admin")
    with pytest.raises(Forbidden, match="belongs to whoever"):
        await keys.create(team.admin, name="k", role="agent", owner_email=email)
    for unknown in (other.email, "nobody@x.test", "no address"):
        with pytest.raises(NotFound):
            await keys.create(me, name="k", role="agent", owner_email=unknown)
    assert (await insider.lose("agent")).status_code == 200
    with pytest.raises(Forbidden, match="can't be 'analyst'"):
        await keys.create(me, name="k", role="analyst", owner_email=email)


async def test_a_new_password_ends_keys_where_that_is_asked_for(served, team, insider) -> None:
    first = await insider.key("agent")
    path = f"{USERS}/{insider.user['user_id']}/password"
    assert (await team.call("POST", path, {"password": "new pass phrase"})).status_code == 200
    assert await insider.counts_for(first) == "agent"
    body = {"password": "newer pass phrase", "end_keys": True}
    assert (await team.call("POST", path, body)).status_code == 200
    assert await insider.counts_for(first) is None
    tokens = await served.tokens(insider.user["email"], "newer pass phrase")
    me = await served.principal(tokens["access_token"])
    second = await insider.key("agent", by=me)
    body = {"current_password": "newer pass phrase", "new_password": PASSWORD, "end_keys": True}
    assert (await served.call(me, "POST", "/api/v1/auth/password", body)).status_code == 200
    assert await insider.counts_for(second) is None
    assert await team.audited("user.password_changed") != []


@pytest.mark.parametrize("held", USER_ROLES)
@pytest.mark.parametrize("bound", USER_ROLES)
def test_the_lesser_role_may_what_both_may(held, bound) -> None:
    assert ROLE_SCOPES[lesser_role(held, bound)] == ROLE_SCOPES[held] & ROLE_SCOPES[bound]
    assert lesser_role(held, held) == held


async def test_keys_from_before_get_their_makers_as_owners(database_url: str, tmp_path) -> None:
    for migration in read_migrations():
        if migration.part == CORE and migration.version < 8:
            (tmp_path / f"{migration.version:04}_{migration.name}.sql").write_text(migration.sql)
    connection = await asyncpg.connect(database_url)
    db = Postgres(database_url)
    try:
        await migrate(connection, folder=tmp_path)
        org, quiet = [
            await connection.fetchval(
                "INSERT INTO organisation (slug, name) VALUES ($1, 'A') RETURNING org_id", slug
            )
            for slug in ("a", "b")
        ]
        makers = {
            name: await connection.fetchval(
                """INSERT INTO app_user (org_id, email, role, password_hash, disabled)
                   VALUES ($1, $2 || '@a.test', 'admin', '', $3) RETURNING user_id""",
                org, name, name == "disabled",
            )
            for name in ("there", "disabled")
        } | {"gone": uuid4(), "token": uuid4(), "unknown": uuid4(), "nobody": None}  # fmt: skip
        # By hand: a Postgres would bring the tables up to date first.
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )
        for action, name in (("user.deleted", "gone"), ("token.minted", "token")):
            async with connection.transaction():
                await audit.record(
                    connection, org, at=datetime.now(UTC), actor="service:looma", action=action,
                    target=f"user:{makers[name]}", details={"name": "织"},
                )  # fmt: skip
        keys = {
            name: await connection.fetchval(
                """INSERT INTO api_key (org_id, name, role, secret_hash, prefix, created_by)
                   VALUES ($1, $2, $3, $4, '', $5) RETURNING 'key:' || key_id""",
                org, name, "service" if name == "unknown" else "admin", name.encode(), maker,
            )
            for name, maker in makers.items()
        }  # fmt: skip
        await connection.execute(
            """INSERT INTO api_key (org_id, name, role, secret_hash, prefix)
               VALUES ($1, 'quiet', 'agent', '', '')""",
            quiet,
        )
        await migrate(connection)
        rows = await connection.fetch(
            "SELECT name, role, owner_id, revoked_at FROM api_key WHERE org_id = $1", org
        )
        assert {
            row["name"]: (row["role"], row["owner_id"], row["revoked_at"] is None) for row in rows
        } == {
            "there": ("admin", makers["there"], True),
            "disabled": ("admin", makers["disabled"], False),
            "gone": ("admin", makers["gone"], False),
            # An operator's token had nobody behind it who could have gone.
            "token": ("analyst", None, True),
            "unknown": ("service", None, True),
            "nobody": ("analyst", None, True),
        }
        changed = {keys[name] for name in ("disabled", "gone", "token", "nobody")}
        rows = await connection.fetch("SELECT subject FROM revocation")
        assert {row["subject"] for row in rows} == changed
        [entry, *_] = (await audit.list_entries(db, org, limit=9, cursor=None)).items
        assert (entry.seq, entry.actor, entry.action) == (3, "migration:0008", "keys.owners_set")
        assert {what: set(named) for what, named in entry.details.items()} == {
            "keys_ended": {keys["disabled"], keys["gone"]},
            "keys_given_to_organisation": {keys["token"], keys["unknown"]},
            "keys_lowered": {keys["token"], keys["nobody"]},
        }
        intact = await audit.verify(db, org)
        assert (intact.broken, intact.head.seq) == (None, 3)
        assert (await audit.verify(db, quiet)).head.seq == 0  # nothing happened to its keys
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("UPDATE api_key SET owner_id = NULL")
    finally:
        await db.close()
        await connection.close()
