"""Endpoints of customers: parse, call, respond."""

from ai_services.portrait.customers import customers, numbers, schemas
from ai_services.portrait.state import Stores
from shared.ids import one_spelling
from shared.serving.service import Call, Endpoint


async def list_customers(call: Call[Stores]) -> schemas.CustomersOut:
    query: schemas.CustomersQuery = call.query
    called = await numbers.named(
        call.state.peers, call.principal, query.id, query.number, call.request_id
    )
    page = await customers.find(
        call.state.relational, call.org_id, query.wanted(called), query.period_type,
        query.period_key, cursor=query.cursor, limit=query.limit,
    )  # fmt: skip
    return schemas.CustomersOut.of(query.period_type, page)


async def get_customer(call: Call[Stores]) -> schemas.CustomerOut:
    return schemas.CustomerOut.of(
        await customers.facts(
            call.state.relational, call.org_id, one_spelling(call.params["customer_id"])
        )
    )


endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "GET", "/api/v1/customers", list_customers, "portrait:read",
        "Customers with calls in a period, by id; found by id, number or figures of their portrait",
        query=schemas.CustomersQuery, returns=schemas.CustomersOut,
    ),
    Endpoint(
        "GET", "/api/v1/customers/{customer_id}", get_customer, "portrait:read",
        "One customer: portraits, last calls with evidence, risks, open promises, best time to call",
        returns=schemas.CustomerOut,
    ),
]  # fmt: skip
