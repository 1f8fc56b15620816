"""A key never counts for more than its owner does at the moment, and ends with them.

Written from an attacker's side: somebody who was an admin, and kept what they could.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from ai_services.auth.service import operator
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
    assert [key["made_by_key"] for key in (first, second, third)] == [
        None, first["key_id"], second["key_id"],
    ]  # fmt: skip
    assert (await insider.lose("disabled")).status_code == 200
    assert await insider.counts_for(second) is await insider.counts_for(third) is None


async def test_a_key_is_revoked_with_the_key_that_made_it(served, team, insider) -> None:
    """Whoever got hold of a key for a moment keeps nothing of it once it is revoked."""
    first, stranger = await insider.key(), await insider.key("agent")
    second = await insider.key(by=as_key(insider, first))
    third, fourth = [await insider.key(by=as_key(insider, second)) for _ in range(2)]
    given = await served.call(
        as_key(insider, second), "POST", f"{KEYS}/{fourth['key_id']}/transfer", {"role": "analyst"}
    )
    assert given.status_code == 200
    path = f"{KEYS}/{first['key_id']}"
    for _ in range(2):
        assert (await team.call("DELETE", path)).status_code == 200
    ended = [first, second, third, fourth]
    assert [await insider.counts_for(key) for key in ended] == [None] * 4
    assert {f"key:{key['key_id']}" for key in ended} <= await served.revoked()
    assert (await insider.new_admin(as_key(insider, third))).status_code == 401
    [entry] = await team.audited("key.revoked")
    assert set(entry["details"]["keys_ended"]) == {f"key:{key['key_id']}" for key in ended[1:]}
    assert await insider.counts_for(stranger) == "agent"
    listed = (await team.call("GET", KEYS)).json()["data"]["items"]
    made_by = {key["key_id"]: key["made_by_key"] for key in listed}
    assert made_by[third["key_id"]] == second["key_id"]


async def test_a_key_handed_over_stays_when_its_owner_goes_and_ends_with_its_maker(
    team, insider
) -> None:
    first = await insider.key()
    second = await insider.key(by=as_key(insider, first))
    path = f"{KEYS}/{second['key_id']}/transfer"
    assert (await team.call("POST", path, {"role": "service"})).status_code == 200
    assert (await insider.lose("deleted")).status_code == 200
    assert await insider.counts_for(second) == "service"
    assert (await team.call("DELETE", f"{KEYS}/{first['key_id']}")).status_code == 200
    assert await insider.counts_for(second) is None


async def test_a_key_makes_none_that_outlives_it(served, team, insider) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)

    async def make(by: Principal, expires_at: datetime | None = None) -> httpx.Response:
        stated = {} if expires_at is None else {"expires_at": expires_at.isoformat()}
        return await served.call(by, "POST", KEYS, {"name": "k", "role": "admin"} | stated)

    first = (await make(insider.principal, end)).json()["data"]
    second = (await make(as_key(insider, first))).json()["data"]
    assert datetime.fromisoformat(second["expires_at"]) == end
    for maker in (first, second):
        caller = as_key(insider, maker)
        for late in (timedelta(microseconds=1), timedelta(days=900)):
            answer = await make(caller, end + late)
            assert (answer.status_code, answer.json()["details"][0]["field"]) == (422, "expires_at")
        assert (await make(caller, end)).status_code == 201
        sooner = (await make(caller, end - timedelta(minutes=1))).json()["data"]
        assert datetime.fromisoformat(sooner["expires_at"]) < end
    endless = (await make(insider.principal)).json()["data"]
    assert (await make(as_key(insider, endless), end)).status_code == 201
    assert (await make(as_key(insider, endless))).json()["data"]["expires_at"] is None


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
