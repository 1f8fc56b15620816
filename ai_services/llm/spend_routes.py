"""Endpoints of budgets and costs: parse, call, respond."""

from typing import Any, Final, Protocol
from uuid import UUID

from sanic.response import HTTPResponse

from ai_services.llm import spend_schemas as schemas
from ai_services.llm.spend import budgets
from ai_services.llm.spend.costs import costs
from shared.data_access.ports import Relational
from shared.errors import NotFound
from shared.serving.service import Call, Endpoint
from shared.wire import REQUEST_ID_HEADER

_TAGS: Final = ("spend",)


class Spending(Protocol):
    """What these endpoints need of their service's state."""

    @property
    def relational(self) -> Relational: ...


async def list_budgets(call: Call[Spending]) -> schemas.BudgetsOut:
    found = await budgets.list_budgets(call.state.relational, call.org_id)
    return schemas.BudgetsOut(budgets=[schemas.BudgetOut.of(budget) for budget in found])


async def set_budget(call: Call[Spending]) -> schemas.BudgetOut:
    body: schemas.BudgetIn = call.body
    return schemas.BudgetOut.of(
        await budgets.set_budget(
            call.state.relational, call.org_id, body.subject_kind, body.subject, body.period,
            body.amount, hard=body.hard,
        )
    )  # fmt: skip


async def delete_budget(call: Call[Spending]) -> None:
    try:
        budget_id = UUID(call.params["budget_id"])
    except ValueError:
        raise NotFound("There is no such budget: its id is a UUID.") from None
    await budgets.delete_budget(call.state.relational, call.org_id, budget_id)


async def get_costs(call: Call[Spending]) -> schemas.CostsOut | HTTPResponse:
    query: schemas.CostsQuery = call.query
    found = await costs(call.state.relational, call.org_id, query.group_by, query.first, query.last)
    if query.format == "json":
        return schemas.CostsOut.of(found, query.limit)
    name = f"costs-by-{found.group_by}-{found.first}-{found.last}.csv"
    return HTTPResponse(
        found.csv(),
        headers={
            REQUEST_ID_HEADER: call.request_id,
            "content-disposition": f'attachment; filename="{name}"',
        },
        content_type="text/csv; charset=utf-8",
    )


endpoints: list[Endpoint[Any]] = [
    Endpoint(
        "GET", "/api/v1/budgets", list_budgets, "llm:read",
        "All budgets, with what their current windows have spent, reserved and left",
        returns=schemas.BudgetsOut, tags=_TAGS,
    ),
    Endpoint(
        "PUT", "/api/v1/budgets", set_budget, "llm:admin",
        "Set the budget of a subject and period, new or changed",
        body=schemas.BudgetIn, body_limit=16_384, returns=schemas.BudgetOut, tags=_TAGS,
    ),
    Endpoint(
        "DELETE", "/api/v1/budgets/{budget_id}", delete_budget, "llm:admin",
        "Take a budget away", tags=_TAGS,
    ),
    Endpoint(
        "GET", "/api/v1/costs", get_costs, "llm:read",
        "What attempts at models cost, by day, model, purpose, user or key; as JSON or CSV",
        query=schemas.CostsQuery, returns=schemas.CostsOut, tags=_TAGS,
    ),
]  # fmt: skip
