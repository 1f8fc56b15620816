"""Budgets and costs over a real socket, on a real database."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from ai_services.llm.spend.ledger import Ledger
from ai_services.llm.spend_routes import Spending, endpoints
from shared.config import Config
from shared.data_access.relational.postgres import Postgres
from shared.security import InternalTokens, Principal
from shared.serving.service import BaseAIService
from tests.ai_services.llm.spend.books import (
    KEY,
    USER,
    Organisation,
    new_organisation,
    settlement,
)

SECRET = "s" * 64


@dataclass(frozen=True)
class State:
    relational: Postgres


@dataclass(frozen=True)
class Api:
    """A client of one organisation."""

    client: httpx.AsyncClient
    organisation: Organisation

    async def request(
        self, method: str, path: str, *, role: Any = "admin", **kwargs: Any
    ) -> httpx.Response:
        principal = Principal(self.organisation.org_id, USER, role, "user")
        token = InternalTokens(SECRET.encode()).mint(principal, "llm")
        headers = {"X-Internal-Token": token}
        return await self.client.request(method, f"/api/v1/{path}", headers=headers, **kwargs)

    async def data(self, path: str, **params: Any) -> Any:
        answer = await self.request("GET", path, params=params, role="analyst")
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def put(self, **body: Any) -> httpx.Response:
        return await self.request("PUT", "budgets", json=body)

    async def budgets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.data("budgets"))["budgets"]
        return found


@pytest.fixture(scope="module")
async def client(db: Postgres, tmp_path_factory: Any) -> AsyncIterator[httpx.AsyncClient]:
    async def open_state(_service: BaseAIService[Spending], _stack: AsyncExitStack) -> Spending:
        return State(db)

    home: Path = tmp_path_factory.mktemp("spend")
    config = Config.from_env({"LOOMA_HOME": str(home), "INTERNAL_TOKEN_SECRET": SECRET})
    service = BaseAIService("llm", config, endpoints=endpoints, open_state=open_state)
    async with (
        service.running(port=0) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as opened_client,
    ):
        yield opened_client


@pytest.fixture
def api(client: httpx.AsyncClient, organisation: Organisation) -> Api:
    return Api(client, organisation)


async def spend(
    organisation: Organisation, ledger: Ledger, cost: str, outcome: Any = "ok", **attempt: Any
) -> None:
    made = organisation.attempt("5", **attempt)
    await ledger.reserve(made)
    await ledger.settle(made, settlement(cost, outcome))


# Budgets.


async def test_a_budget_is_set_shown_changed_and_deleted(api: Api, ledger: Ledger) -> None:
    answer = await api.put(subject_kind="organisation", period="month", amount="10.5")
    assert answer.status_code == 200, answer.text
    made = answer.json()["data"]
    assert (made["subject"], made["amount"], made["hard"]) == ("", "10.50000000", True)
    await spend(api.organisation, ledger, "1.25")
    await ledger.reserve(api.organisation.attempt("2"))
    (shown,) = await api.budgets()
    assert (shown["spent"], shown["reserved"], shown["left"]) == (
        "1.25000000",
        "2.00000000",
        "7.25000000",
    )
    first_day, renews = date.fromisoformat(shown["first_day"]), shown["renews_at"]
    assert first_day.day == 1
    assert datetime.fromisoformat(renews).utcoffset() is not None
    again = await api.put(subject_kind="organisation", period="month", amount="1", hard=False)
    assert again.json()["data"]["budget_id"] == made["budget_id"]
    (shown,) = await api.budgets()
    assert (shown["amount"], shown["left"], shown["hard"]) == ("1.00000000", "-2.25000000", False)
    gone = await api.request("DELETE", f"budgets/{made['budget_id']}")
    assert gone.status_code == 200
    assert await api.budgets() == []
    assert await api.organisation.windows() == {}
    gone = await api.request("DELETE", f"budgets/{made['budget_id']}")
    assert gone.status_code == 404


async def test_budgets_of_every_kind_and_period(api: Api) -> None:
    owners = [
        {"subject_kind": "organisation"},
        {"subject_kind": "user", "subject": str(uuid4())},
        {"subject_kind": "user", "subject": "external:acme:anna@example.com"},
        {"subject_kind": "key", "subject": str(uuid4())},
        {"subject_kind": "purpose", "subject": "call-summary"},
    ]
    for owner in owners:
        for period in ("day", "week", "month", "total"):
            answer = await api.put(**owner, period=period, amount="0")
            assert answer.status_code == 200, answer.text
    shown = await api.budgets()
    assert len(shown) == 20
    assert {budget["renews_at"] is None for budget in shown if budget["period"] == "total"} == {
        True
    }


@pytest.mark.parametrize(
    ("body", "field", "fix"),
    [
        ({"amount": 10.5}, "amount", "decimal string"),
        ({"amount": "-1"}, "amount", "decimal string"),
        ({"amount": "1e3"}, "amount", "decimal string"),
        ({"amount": "NaN"}, "amount", "decimal string"),
        ({"amount": "12345678901"}, "amount", "decimal string"),
        ({"amount": "0.123456789"}, "amount", "decimal string"),
        ({"period": "year"}, "period", ""),
        ({"subject_kind": "team"}, "subject_kind", ""),
        ({"subject": "x"}, "subject", "leave it out"),
        ({"subject_kind": "user"}, "subject", "id of a user"),
        ({"subject_kind": "key", "subject": "all"}, "subject", "id of an API key"),
        ({"subject_kind": "purpose", "subject": "Chat!"}, "subject", "lower-case"),
        ({"soft": True}, "soft", "remove this field"),
    ],
)
async def test_a_wrong_budget_is_told_what_is_wrong(
    api: Api, body: dict[str, Any], field: str, fix: str
) -> None:
    right = {"subject_kind": "organisation", "period": "day", "amount": "1"}
    answer = await api.put(**{**right, **body})
    assert answer.status_code == 422
    details = answer.json()["details"]
    assert [field in detail["field"] and fix in detail["fix"] for detail in details] == [True]
    assert await api.budgets() == []


async def test_only_admins_set_budgets_and_agents_see_none(api: Api) -> None:
    body = {"subject_kind": "organisation", "period": "day", "amount": "1"}
    for method, path, role in (
        ("PUT", "budgets", "analyst"),
        ("DELETE", f"budgets/{uuid4()}", "analyst"),
        ("GET", "budgets", "agent"),
        ("GET", "costs", "agent"),
    ):
        answer = await api.request(method, path, role=role, json=body if method == "PUT" else None)
        assert answer.status_code == 403, (method, path)
    for name in ("not-a-uuid", str(uuid4())):
        assert (await api.request("DELETE", f"budgets/{name}")).status_code == 404


async def test_an_organisation_sees_its_own_only(api: Api, ledger: Ledger, db: Postgres) -> None:
    other = await new_organisation(db)
    budget = await other.set_budget("10")
    await spend(other, ledger, "1")
    assert await api.budgets() == []
    assert (await api.data("costs", group_by="model"))["items"] == []
    assert (await api.request("DELETE", f"budgets/{budget}")).status_code == 404
    assert await other.window(budget) == (0, 1)


# Costs.


async def test_costs_by_each_group(api: Api, ledger: Ledger) -> None:
    organisation = api.organisation
    await spend(organisation, ledger, "1", subject=USER, model="small", purpose="chat")
    await spend(organisation, ledger, "2", subject=KEY, model="large", purpose="chat")
    await spend(organisation, ledger, "0", "error", subject=KEY, model="large", purpose="summary")
    await spend(organisation, ledger, "0.5", subject="service:enrichment", model="small")
    await ledger.reserve(organisation.attempt("4", subject=USER, model="small"))
    costs = {
        group: [(item["key"], item["cost"]) for item in found["items"]]
        for group in ("model", "purpose", "user", "key")
        for found in [await api.data("costs", group_by=group)]
    }
    assert costs == {
        "model": [("large", "2.00000000"), ("small", "1.50000000")],
        "purpose": [("chat", "3.50000000"), ("summary", "0.00000000")],
        "user": [("", "2.50000000"), (USER.removeprefix("user:"), "1.00000000")],
        "key": [(KEY.removeprefix("key:"), "2.00000000"), ("", "1.50000000")],
    }
    found = await api.data("costs", group_by="model", limit=1)
    assert (found["groups"], len(found["items"])) == (2, 1)
    assert found["items"][0]["outcomes"] == {"ok": 1, "error": 1}
    assert found["total"] == {
        "attempts": 5,
        "input_tokens": 360,
        "output_tokens": 160,
        "cached_tokens": 40,
        "reasoning_tokens": 20,
        "cost": "3.50000000",
        "reserved": "4.00000000",
        "outcomes": {"ok": 3, "error": 1, "reserved": 1},
    }


async def test_costs_by_day_are_those_of_the_organisations_days(api: Api, ledger: Ledger) -> None:
    organisation = api.organisation
    await organisation.move_to("Pacific/Pago_Pago")
    await spend(organisation, ledger, "1")
    await organisation.move_to("Pacific/Kiritimati")
    await spend(organisation, ledger, "2")
    found = await api.data("costs")
    assert len(found["items"]) == 30
    last = date.fromisoformat(found["last_day"])
    by_day = {item["key"]: item["cost"] for item in found["items"] if item["attempts"]}
    assert list(by_day.values()) == ["1.00000000", "2.00000000"]
    assert max(by_day) == str(last)
    only = await api.data("costs", **{"from": str(last), "to": str(last)})
    assert [item["cost"] for item in only["items"]] == ["2.00000000"]
    for long_ago in (last - timedelta(days=40), date.min, date(1, 2, 1), date.max):
        nothing = await api.data("costs", to=long_ago.isoformat())
        assert nothing["total"]["attempts"] == 0


async def test_costs_as_csv(api: Api, ledger: Ledger) -> None:
    await spend(api.organisation, ledger, "1.5", purpose='=HYPERLINK("x"),1')
    answer = await api.request("GET", "costs", params={"group_by": "purpose", "format": "csv"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="costs-by-purpose-' in answer.headers["content-disposition"]
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["purpose"] == '\'=HYPERLINK("x"),1'
    assert (row["attempts"], row["cost"], row["ok"], row["error"]) == ("1", "1.50000000", "1", "0")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"group_by": "provider"}, "group_by"),
        ({"from": "2026-02-30"}, "from"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "from"),
        ({"from": "2000-01-01", "to": "2026-03-01"}, "from"),
        ({"limit": "0"}, "limit"),
        ({"format": "xlsx"}, "format"),
    ],
)
async def test_wrong_questions_about_costs(api: Api, params: dict[str, str], field: str) -> None:
    answer = await api.request("GET", "costs", params=params)
    assert answer.status_code == 422
    assert [detail["field"] for detail in answer.json()["details"]] == [field]
