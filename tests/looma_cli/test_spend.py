"""`looma costs`, `looma budgets` and `looma llm` as people use them."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from ai_services.llm.spend.ledger import Ledger
from looma_cli import exit_codes
from shared.embedded.stores import Endpoints
from tests.ai_services.llm.spend.books import Organisation, opened, settlement
from tests.looma_cli.looma import Looma

MODELS = """
currency = "CNY"
[providers.here]
base_url = "http://127.0.0.1:1/v1"
[models.fast]
deployments = [{ provider = "here", model = "upstream" }]
context = 1000
max_output = 100
prices = [{ since = 2025-01-01, input = 0.15, output = 1.5 }]
"""


@pytest.fixture
def looma(tmp_path: Path, stores: Endpoints, database_url: str, redis_url: str) -> Looma:
    models = tmp_path / "models.toml"
    models.write_text(MODELS)
    looma = Looma(
        tmp_path / "home",
        tmp_path,
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        GRAPH_URL=stores.graph_url,
        LLM_MODELS=str(models),
    )
    looma("orgs", "create", "acme")
    return looma


@asynccontextmanager
async def books(database_url: str) -> AsyncIterator[Organisation]:
    async with opened(database_url) as db:
        async with db.system() as tx:
            org_id: UUID = await tx.fetchval("SELECT org_id FROM organisation")
        yield Organisation(db, org_id)


async def spent(database_url: str, cost: str) -> None:
    async with books(database_url) as organisation, Ledger(organisation.db) as ledger:
        attempt = organisation.attempt("5")
        await ledger.reserve(attempt)
        await ledger.settle(attempt, settlement(cost))


def test_budgets_are_set_shown_and_removed(looma: Looma) -> None:
    assert looma("budgets") == ""
    key = str(uuid4())
    looma("budgets", "set", "organisation", "month", "500")
    looma("budgets", "set", f"key:{key}", "day", "2.50", "--soft")
    found = {one["subject_kind"]: one for one in looma.json("budgets", "list")}
    assert found["organisation"]["amount"] == "500.00000000"
    assert (found["key"]["subject"], found["key"]["hard"]) == (key, False)
    assert "never" not in looma("budgets")
    looma("budgets", "remove", f"key:{key}", "day")
    assert [one["subject_kind"] for one in looma.json("budgets", "list")] == ["organisation"]
    assert "looma budgets" in looma.refusal("budgets", "remove", f"key:{key}", "day")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("organisation", "month", "much"), "amount"),
        (("nobody", "month", "1"), "subject_kind"),
        (("key:CRM", "month", "1"), "id of an API key"),
    ],
)
def test_a_budget_that_cannot_be_says_why(
    looma: Looma, arguments: tuple[str, ...], told: str
) -> None:
    done = looma.run("budgets", "set", *arguments)
    assert done.returncode == exit_codes.FAILED
    assert told in done.stderr


def test_costs_are_shown_by_what_is_asked_for(looma: Looma, database_url: str) -> None:
    assert looma("costs") == ""
    asyncio.run(spent(database_url, "1.25"))
    page = looma("costs", "--by", "purpose")
    assert "█" in page
    assert "1.2500 CNY for 1 attempts" in page
    assert looma.json("costs")["total"]["cost"] == "1.25000000"
    (row,) = csv.DictReader(io.StringIO(looma("costs", "--by", "model", "--csv")))
    assert (row["cost"], row["ok"]) == ("1.25000000", "1")
    assert "exchange them" in looma.refusal("costs", "--from", "2026-02-01", "--to", "2026-01-01")


def test_models_are_listed_with_their_prices(looma: Looma) -> None:
    (row,) = looma.json("llm", "models")
    assert (row["model"], row["input"], row["output"]) == ("fast", "0.15", "1.5")
    assert "CNY" in looma("llm", "models")


def test_no_model_is_tried_where_nothing_runs(looma: Looma) -> None:
    assert "looma up" in looma.refusal("llm", "test", "fast")
