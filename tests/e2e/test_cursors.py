"""A cursor is good for its own list, its own query and its own organisation."""

from __future__ import annotations

import itertools
from uuid import uuid4

import httpx
import pytest

from tests.e2e.answer_law import broken
from tests.e2e.real_services import RealServices
from tests.gateway.wire import until


async def lists(client: httpx.AsyncClient) -> list[str]:
    """Every paged list, as a target; each has at least two rows."""
    mark = uuid4().hex[:8]
    for number in range(2):
        user = {"email": f"{mark}-{number}@tested.test", "name": "x", "role": "agent",
                "password": "correct horse battery"}  # fmt: skip
        key = {"name": f"{mark}-{number}", "role": "agent"}
        wrong = {"callid": f"{mark}-{number}"}
        for path, body in (
            ("/api/v1/users", user),
            ("/api/v1/keys", key),
            ("/api/v1/calls", {"records": [wrong, wrong]}),
        ):
            answer = await client.post(path, json=body)
            assert answer.status_code in {200, 201}, answer.text
    import_id = answer.json()["data"]["import_id"]
    return [
        "/api/v1/users?", "/api/v1/keys?", "/api/v1/audit?", "/api/v1/imports?",
        f"/api/v1/imports/{import_id}/rejects?", "/api/v1/calls?user_id=team-7",
        "/api/v1/calls/search?q=投诉",
    ]  # fmt: skip


@pytest.fixture(scope="module")
async def cursors(whole: RealServices) -> dict[str, str]:
    """A real cursor of each list."""
    async with whole.client() as client:
        return await given_cursors(client)


async def given_cursors(client: httpx.AsyncClient) -> dict[str, str]:
    found: dict[str, str] = {}
    for target in await lists(client):

        async def given(target: str = target) -> bool:
            answer = await client.get(f"{target}&limit=1")
            assert answer.status_code == 200, answer.text
            cursor = answer.json()["data"]["next_cursor"]
            if cursor is not None:
                found[target] = cursor
            return cursor is not None

        await until(given, 60)  # what is searched follows what is stored
    return found


async def test_another_organisation_sees_nothing_by_a_cursor(
    whole: RealServices, cursors: dict[str, str]
) -> None:
    async with whole.client_of_others() as others:
        for target, cursor in cursors.items():
            answer = await others.get(f"{target}&cursor={cursor}")
            assert answer.status_code in {400, 404}, (target, answer.text)
            assert broken(answer) is None, answer.text


async def test_a_cursor_is_of_no_other_list(whole: RealServices, cursors: dict[str, str]) -> None:
    async with whole.client() as client:
        for own, other in itertools.permutations(cursors, 2):
            answer = await client.get(f"{own}&cursor={cursors[other]}")
            assert answer.status_code == 400, (own, other, answer.text)
            assert "start again" in answer.json()["message"]


async def test_a_damaged_cursor_is_refused_or_harmless(
    whole: RealServices, cursors: dict[str, str]
) -> None:
    async with whole.client() as client:
        for target, cursor in cursors.items():
            flipped = (
                f"{cursor[:at]}{'B' if cursor[at] == 'A' else 'A'}{cursor[at + 1 :]}"
                for at in range(0, len(cursor), 5)
            )
            for damaged in (
                *flipped, cursor[:-1], cursor[1:], cursor[: len(cursor) // 2], cursor + "A",
                cursor * 2, cursor + "%3D", cursor + "%00", "%ff" + cursor, cursor.swapcase(),
                cursor * 30, cursor + "%0A",
            ):  # fmt: skip
                answer = await client.get(f"{target}&cursor={damaged}")
                assert answer.status_code in {200, 400, 422}, (target, damaged, answer.text)
                assert broken(answer) is None, (target, damaged, answer.text)
