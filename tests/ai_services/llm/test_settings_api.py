"""What an organisation decides about its requests to models."""

from __future__ import annotations

import pytest

from tests.ai_services.llm.conftest import Api

PATH = "/api/v1/llm/settings"


async def test_data_are_masked_unless_an_admin_decides_otherwise(api: Api) -> None:
    assert (await api.http.get(PATH)).json()["data"] == {
        "mask_personal_data": True, "encrypt_answers": False,
    }  # fmt: skip
    wanted = {"mask_personal_data": False, "encrypt_answers": True}
    async with api.signed_in("admin") as admin:
        assert (await admin.put(PATH, json=wanted)).json()["data"] == wanted
    assert (await api.http.get(PATH)).json()["data"] == wanted


@pytest.mark.parametrize("body", [{}, {"mask_personal_data": "yes", "encrypt_answers": True}])
async def test_half_a_decision_is_none(api: Api, body: dict[str, object]) -> None:
    async with api.signed_in("admin") as admin:
        answer = await admin.put(PATH, json=body)
    assert answer.status_code == 422


async def test_an_analyst_reads_and_does_not_decide(api: Api) -> None:
    answer = await api.http.put(PATH, json={"mask_personal_data": False, "encrypt_answers": True})
    assert answer.status_code == 403
