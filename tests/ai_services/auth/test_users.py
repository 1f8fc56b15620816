"""Users: who may manage them, what an organisation can't lose, what ends with lost rights."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from shared.security import Principal
from tests.ai_services.auth.harness import PASSWORD

NEW = "another long pass phrase"
URL = "/api/v1/users"


async def test_a_user_is_created_read_changed_listed_and_deleted(served, team) -> None:
    user = await team.add_user("analyst", email=f"Li.Na@{team.slug.upper()}.test")
    assert user["email"] == f"li.na@{team.slug}.test"
    path = f"{URL}/{user['user_id']}"
    assert (await team.call("GET", path)).json()["data"] == user
    changed = (await team.call("PATCH", path, {"name": "李娜", "role": "agent"})).json()["data"]
    assert (changed["name"], changed["role"], changed["disabled"]) == ("李娜", "agent", False)
    assert changed["updated_at"] > user["updated_at"]
    assert (await team.call("DELETE", path)).status_code == 200
    assert (await team.call("GET", path)).status_code == 404
    assert (await team.call("DELETE", path)).status_code == 404
    assert (await served.login(user["email"])).status_code == 401
    assert [len(await team.audited(f"user.{what}")) for what in ("updated", "deleted")] == [1, 1]
    [entry] = await team.audited("user.updated")
    assert entry["details"] == {"name": "李娜", "role": "agent"}


async def test_the_list_is_paged_in_a_stable_order(team) -> None:
    made = [team.admin_id] + [(await team.add_user())["user_id"] for _ in range(5)]
    seen, cursor, pages = [], None, 0
    while True:
        query = "?limit=3" + (f"&cursor={cursor}" if cursor else "")
        page = (await team.call("GET", URL + query)).json()["data"]
        seen += [item["user_id"] for item in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
        if cursor is None:
            break
    assert seen == made
    assert pages == 2  # a full last page is known to be the last


@pytest.mark.parametrize("role", ["analyst", "agent", "service"])
async def test_only_admins_manage_users_keys_and_read_the_audit_log(served, team, role) -> None:
    caller = Principal(team.org_id, f"user:{uuid4()}", role, "user")
    for method, path in (
        ("GET", URL), ("POST", URL), ("GET", f"{URL}/{team.admin_id}"),
        ("PATCH", f"{URL}/{team.admin_id}"), ("DELETE", f"{URL}/{team.admin_id}"),
        ("POST", f"{URL}/{team.admin_id}/password"), ("GET", "/api/v1/keys"),
        ("POST", "/api/v1/keys"), ("DELETE", f"/api/v1/keys/{uuid4()}"), ("GET", "/api/v1/audit"),
    ):  # fmt: skip
        assert (await served.call(caller, method, path, {})).status_code == 403, path


async def test_the_last_admin_can_be_neither_deleted_nor_demoted_nor_disabled(team) -> None:
    path = f"{URL}/{team.admin_id}"
    for method, body in (
        ("DELETE", None), ("PATCH", {"role": "analyst"}), ("PATCH", {"disabled": True}),
    ):  # fmt: skip
        answer = await team.call(method, path, body)
        assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    second = await team.add_user("admin")
    disabled = await team.call("PATCH", f"{URL}/{second['user_id']}", {"disabled": True})
    assert disabled.status_code == 200
    assert (await team.call("DELETE", path)).status_code == 409  # a disabled admin doesn't count
    await team.call("PATCH", f"{URL}/{second['user_id']}", {"disabled": False})
    assert (await team.call("DELETE", path)).status_code == 200


async def test_two_admins_who_demote_each_other_at_once_leave_one(served, team) -> None:
    second = (await team.add_user("admin"))["user_id"]
    both = [team.admin, replace(team.admin, subject=f"user:{second}", session=str(uuid4()))]
    answers = await asyncio.gather(
        *(
            served.call(caller, method, f"{URL}/{who}", body)
            for caller in both
            for method, body in (("PATCH", {"role": "agent"}), ("DELETE", None))
            for who in (team.admin_id, second)
        )
    )
    codes = [answer.status_code for answer in answers]
    assert 200 in codes
    assert set(codes) <= {200, 401, 403, 404, 409}
    users = (await served.call(team.admin, "GET", URL)).json()["data"]["items"]
    assert [user["role"] for user in users].count("admin") == 1


async def test_another_organisations_user_does_not_exist(team, other) -> None:
    theirs = await other.add_user()
    path = f"{URL}/{theirs['user_id']}"
    for method, end, body in (
        ("GET", "", None), ("PATCH", "", {"name": "mine"}), ("DELETE", "", None),
        ("POST", "/password", {"password": NEW}),
    ):  # fmt: skip
        assert (await team.call(method, path + end, body)).status_code == 404
    listed = (await team.call("GET", URL)).json()["data"]["items"]
    assert theirs["user_id"] not in [user["user_id"] for user in listed]
    assert (await other.call("GET", path)).json()["data"] == theirs


async def test_an_address_is_taken_once_over_all_organisations(team, other) -> None:
    user = await team.add_user()
    body = {"email": user["email"].upper(), "role": "agent", "password": PASSWORD}
    for asked in (team, other):
        answer = await asked.call("POST", URL, body)
        assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


async def test_a_retry_under_the_same_idempotency_key_gives_the_same_user(team) -> None:
    body = {"email": f"once@{team.slug}.test", "role": "agent", "password": PASSWORD}
    answers = await asyncio.gather(
        *(team.call("POST", URL, body, Idempotency_Key="create-1") for _ in range(4))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["data"]["user_id"] for answer in answers}) == 1
    assert len([e for e in await team.audited("user.created") if "once@" in str(e)]) == 1
    another = {**body, "email": f"twice@{team.slug}.test"}
    answer = await team.call("POST", URL, another, Idempotency_Key="create-1")
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert (await team.call("POST", URL, body, Idempotency_Key="a b")).status_code == 422


@pytest.mark.parametrize("change", [{"disabled": True}, {"role": "agent"}, None])
async def test_losing_rights_ends_the_sessions(served, team, change) -> None:
    user = await team.add_user("analyst")
    sessions = [await served.tokens(user["email"]) for _ in range(2)]
    path = f"{URL}/{user['user_id']}"
    answer = await team.call("PATCH" if change else "DELETE", path, change)
    assert answer.status_code == 200
    for tokens in sessions:
        assert (await served.refresh(tokens["refresh_token"])).status_code == 401
        session = (await served.claims(tokens["access_token"]))["sid"]
        assert f"session:{session}" in await served.revoked()


async def test_a_new_name_ends_nothing(served, team) -> None:
    user = await team.add_user()
    tokens = await served.tokens(user["email"])
    await team.call("PATCH", f"{URL}/{user['user_id']}", {"name": "new"})
    assert (await served.refresh(tokens["refresh_token"])).status_code == 200


async def test_a_password_set_by_an_admin_ends_all_sessions(served, team) -> None:
    user = await team.add_user()
    tokens = await served.tokens(user["email"])
    answer = await team.call("POST", f"{URL}/{user['user_id']}/password", {"password": NEW})
    assert answer.json()["data"] == {"sessions_ended": 1}
    assert (await served.refresh(tokens["refresh_token"])).status_code == 401
    assert (await served.login(user["email"], PASSWORD)).status_code == 401
    assert (await served.login(user["email"], NEW)).status_code == 200


async def test_an_own_password_change_keeps_this_session_and_ends_the_others(served, team) -> None:
    user = await team.add_user()
    here, there = await served.tokens(user["email"]), await served.tokens(user["email"])
    principal = await served.principal(here["access_token"])
    body = {"current_password": PASSWORD, "new_password": NEW}
    answer = await served.call(principal, "POST", "/api/v1/auth/password", body)
    assert answer.json()["data"] == {"sessions_ended": 1}
    assert (await served.refresh(here["refresh_token"])).status_code == 200
    assert (await served.refresh(there["refresh_token"])).status_code == 401
    again = await served.call(principal, "POST", "/api/v1/auth/password", body)
    assert again.json()["details"][0]["field"] == "current_password"
    assert (await served.login(user["email"], NEW)).status_code == 200


async def test_guessing_the_current_password_is_throttled_like_signing_in(served, team) -> None:
    user = await team.add_user()
    principal = await served.principal((await served.tokens(user["email"]))["access_token"])
    body = {"current_password": "guess guess guess", "new_password": NEW}
    codes = [
        (await served.call(principal, "POST", "/api/v1/auth/password", body)).status_code
        for _ in range(11)
    ]
    assert codes == [422] * 10 + [429]
    assert (await served.login(user["email"])).status_code == 429


async def test_an_api_key_has_no_password(served, team) -> None:
    key = Principal(team.org_id, f"key:{uuid4()}", "admin", "key")
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert (await served.call(key, "POST", "/api/v1/auth/password", body)).status_code == 403


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("password", "short"), ("password", "x" * 257), ("password", "x" * 5000),
        ("password", "a" * 20), ("email", "no address"), ("email", "a@b@c"), ("email", "é@x.test"),
        ("email", "x" * 400), ("role", "root"), ("name", "a\nb"), ("name", "x" * 201),
    ],
)  # fmt: skip
async def test_a_bad_value_is_named(team, field, value) -> None:
    good = {"email": f"x@{team.slug}.test", "name": "n", "role": "agent", "password": PASSWORD}
    answer = await team.call("POST", URL, {**good, field: value})
    assert answer.status_code == 422
    [detail] = answer.json()["details"]
    assert detail["field"] == field
    assert detail["problem"]
    assert detail["fix"]


async def test_the_address_itself_is_no_password(team) -> None:
    email = f"someone@{team.slug}.test"
    body = {"email": email, "role": "agent", "password": email.upper()}
    answer = await team.call("POST", URL, body)
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (422, "password")


async def test_a_password_is_the_same_in_every_unicode_form(served, team) -> None:
    user = await team.add_user(password="ｆｕｌｌ ｗｉｄｔｈ é phrase")
    assert (await served.login(user["email"], "full width e\u0301 phrase")).status_code == 200
