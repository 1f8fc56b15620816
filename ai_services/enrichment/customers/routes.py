"""Endpoints about customers and erasures: parse, call, respond."""

from sanic.response import HTTPResponse

from ai_services.enrichment.customers import erasing, merging, schemas
from ai_services.enrichment.customers.called import customer_called
from ai_services.enrichment.customers.digests import Digests
from ai_services.enrichment.customers.erasing import Order
from ai_services.enrichment.service import Stores
from shared.ids import one_spelling
from shared.jobs.waiting import wait_preference
from shared.serving.envelope import success
from shared.serving.service import Call, Endpoint


async def merge_customer(call: Call[Stores]) -> schemas.MergeOut:
    body: schemas.MergeIn = call.body
    done = await merging.merge(
        call.state.relational, Digests(call.state.data_key, call.org_id), call.org_id,
        _id(call, "customer_id"), body.into, actor=call.principal.subject,
    )  # fmt: skip
    return schemas.MergeOut.of(done)


async def split_customer(call: Call[Stores]) -> schemas.MergeOut:
    body: schemas.SplitIn = call.body
    done = await merging.split(
        call.state.relational, call.org_id, _id(call, "customer_id"), body.merge_id,
        actor=call.principal.subject,
    )  # fmt: skip
    return schemas.MergeOut.of(done)


async def customer_history(call: Call[Stores]) -> schemas.CustomerHistory:
    q: schemas.CustomerHistoryQuery = call.query
    return schemas.CustomerHistory.of(
        await merging.history(
            call.state.relational, call.org_id, _id(call, "customer_id"),
            cursor=q.cursor, limit=q.limit,
        )
    )  # fmt: skip


async def identify(call: Call[Stores]) -> schemas.IdentityOut:
    stores, body = call.state, call.body
    found = customer_called(body.number, stores.data_key, call.org_id, stores.country)
    return schemas.IdentityOut(customer_id=found)


async def erase_customer(call: Call[Stores]) -> HTTPResponse:
    begun = await erasing.erase_customer(
        call.state.relational, call.org_id, _id(call, "customer_id"), _order(call)
    )
    wait_s = wait_preference(call.request.headers.getall("prefer", ()))
    found = await erasing.until_over(call.state.relational, call.org_id, begun, wait_s or 0)
    return _receipt(call, schemas.ErasureOut.of(found))


async def erase_call(call: Call[Stores]) -> HTTPResponse:
    done = await erasing.erase_call(
        call.state.relational, call.org_id, _id(call, "callid"), _order(call)
    )
    return _receipt(call, schemas.ErasureOut.of(done))


async def get_erasure(call: Call[Stores]) -> schemas.ErasureOut:
    return schemas.ErasureOut.of(
        await erasing.get(call.state.relational, call.org_id, call.params["erasure_id"])
    )


async def readmit_erased(call: Call[Stores]) -> schemas.ReadmittedOut:
    ids = await erasing.readmit(
        call.state.relational, call.org_id, call.params["erasure_id"],
        actor=call.principal.subject,
    )  # fmt: skip
    return schemas.ReadmittedOut(ids=ids)


def _id(call: Call[Stores], name: str) -> str:
    return one_spelling(call.params[name])


def _order(call: Call[Stores]) -> Order:
    stores = call.state
    digests = Digests(stores.data_key, call.org_id)
    return Order(digests, call.principal.subject, stores.keep_out)


def _receipt(call: Call[Stores], told: schemas.ErasureOut) -> HTTPResponse:
    """202 while a job is at it."""
    status = 202 if told.state == "running" else 200
    response = success(told, call.request_id, status)
    response.headers["location"] = f"/api/v1/erasures/{told.erasure_id}"
    return response


endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "POST", "/api/v1/customers/{customer_id}/merge", merge_customer, "customers:write",
        "Merge a customer into another: calls, those to come too, count for that one",
        body=schemas.MergeIn, body_limit=16_384, returns=schemas.MergeOut,
    ),
    Endpoint(
        "POST", "/api/v1/customers/{customer_id}/split", split_customer, "customers:write",
        "Undo a merge, by its id",
        body=schemas.SplitIn, body_limit=16_384, returns=schemas.MergeOut,
    ),
    Endpoint(
        "GET", "/api/v1/customers/{customer_id}/history", customer_history, "calls:read",
        "Who a customer is one with, and every merge and split, newest first",
        query=schemas.CustomerHistoryQuery, returns=schemas.CustomerHistory,
    ),
    Endpoint(
        "POST", "/internal/v1/customers/identity", identify, "calls:read",
        "Who a phone number is, however it is written; for the portrait service only",
        body=schemas.NumberIn, body_limit=16_384, returns=schemas.IdentityOut,
    ),
    Endpoint(
        "DELETE", "/api/v1/customers/{customer_id}", erase_customer, "customers:erase",
        "Erase a customer and all who are one with it; 202 while a job does it: `Prefer: wait=N`",
        returns=schemas.ErasureOut, status=202, waited=schemas.ErasureOut,
    ),
    Endpoint(
        "DELETE", "/api/v1/calls/{callid}", erase_call, "customers:erase",
        "Erase a call with its transcript",
        returns=schemas.ErasureOut,
    ),
    Endpoint(
        "GET", "/api/v1/erasures/{erasure_id}", get_erasure, "customers:erase",
        "The receipt of an erasure: when, by whom, how much; of whom it tells nothing",
        returns=schemas.ErasureOut,
    ),
    Endpoint(
        "POST", "/api/v1/erasures/{erasure_id}/readmit", readmit_erased, "customers:erase",
        "Let be brought in again what an erasure keeps out",
        returns=schemas.ReadmittedOut,
    ),
]  # fmt: skip
