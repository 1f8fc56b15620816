"""Endpoints of webhooks: parse, call, respond."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sanic.response import HTTPResponse

from ai_services.monitor.webhooks import schemas, thresholds
from ai_services.monitor.webhooks.service import Secret, Webhooks
from shared.errors import NotFound
from shared.serving.envelope import success
from shared.serving.service import Call, Endpoint
from shared.wire import IDEMPOTENCY_KEY_HEADER, idempotency_key

_BODY_LIMIT: Final = 16_384


async def list_webhooks(call: Call[Webhooks]) -> schemas.WebhooksOut:
    return schemas.WebhooksOut.of(await call.state.listing(call.org_id))


async def create_webhook(call: Call[Webhooks]) -> HTTPResponse:
    body: schemas.WebhookIn = call.body
    made = await call.state.create(
        call.org_id,
        url=body.url,
        event_types=body.event_types,
        description=body.description,
        active=body.active,
        idempotency_key=idempotency_key(call.request.headers.getall(IDEMPOTENCY_KEY_HEADER, ())),
    )
    return _secret(made, call.request_id, 201)


async def get_webhook(call: Call[Webhooks]) -> schemas.WebhookOut:
    found = await call.state.get(call.org_id, _id(call, "webhook"))
    return schemas.WebhookOut.model_validate(found)


async def change_webhook(call: Call[Webhooks]) -> schemas.WebhookOut:
    body: schemas.WebhookChangeIn = call.body
    changed = await call.state.change(
        call.org_id,
        _id(call, "webhook"),
        url=body.url,
        event_types=body.event_types,
        description=body.description,
        active=body.active,
    )
    return schemas.WebhookOut.model_validate(changed)


async def delete_webhook(call: Call[Webhooks]) -> None:
    await call.state.delete(call.org_id, _id(call, "webhook"))


async def replace_secret(call: Call[Webhooks]) -> HTTPResponse:
    made = await call.state.rotate(call.org_id, _id(call, "webhook"))
    return _secret(made, call.request_id, 200)


async def test_webhook(call: Call[Webhooks]) -> schemas.DeliveryOut:
    return schemas.DeliveryOut.of(await call.state.test(call.org_id, _id(call, "webhook")))


async def list_deliveries(call: Call[Webhooks]) -> schemas.DeliveriesOut:
    query: schemas.DeliveriesQuery = call.query
    page = await call.state.deliveries(
        call.org_id, _id(call, "webhook"), query.state, cursor=query.cursor, limit=query.limit
    )
    items = [schemas.DeliveryOut.of(one) for one in page.items]
    return schemas.DeliveriesOut(deliveries=items, next_cursor=page.next_cursor)


async def replay_delivery(call: Call[Webhooks]) -> schemas.DeliveryOut:
    return schemas.DeliveryOut.of(await call.state.replay(call.org_id, _id(call, "delivery")))


async def list_thresholds(call: Call[Webhooks]) -> schemas.ThresholdsOut:
    found = await thresholds.list_thresholds(call.state.relational, call.org_id)
    return schemas.ThresholdsOut(
        thresholds=[schemas.ThresholdOut.model_validate(one) for one in found]
    )


async def add_threshold(call: Call[Webhooks]) -> schemas.ThresholdOut:
    body: schemas.ThresholdIn = call.body
    added = await thresholds.add_threshold(
        call.state.relational,
        call.org_id,
        name=body.name,
        metric=body.metric,
        period_type=body.period_type,
        op=body.op,
        value=body.value,
    )
    return schemas.ThresholdOut.model_validate(added)


async def delete_threshold(call: Call[Webhooks]) -> None:
    await thresholds.delete_threshold(call.state.relational, call.org_id, _id(call, "threshold"))


def _id(call: Call[Webhooks], name: str) -> UUID:
    try:
        return UUID(call.params[name])
    except ValueError as error:
        raise NotFound("There is nothing with this id in your organisation.") from error


def _secret(made: Secret, request_id: str, status: int) -> HTTPResponse:
    response = success(schemas.SecretOut.of(made), request_id, status)
    response.headers["Cache-Control"] = "no-store"
    return response


endpoints: list[Endpoint[Webhooks]] = [
    Endpoint(
        "GET", "/api/v1/webhooks", list_webhooks, "webhooks:read",
        "Where the organisation is told of what happens, oldest first",
        returns=schemas.WebhooksOut, tags=("webhooks",),
    ),
    Endpoint(
        "POST", "/api/v1/webhooks", create_webhook, "webhooks:write",
        "Make a webhook; its secret is shown this once",
        body=schemas.WebhookIn, body_limit=_BODY_LIMIT, returns=schemas.SecretOut, status=201,
        tags=("webhooks",),
    ),
    Endpoint(
        "GET", "/api/v1/webhooks/{webhook}", get_webhook, "webhooks:read", "One webhook",
        returns=schemas.WebhookOut, tags=("webhooks",),
    ),
    Endpoint(
        "PATCH", "/api/v1/webhooks/{webhook}", change_webhook, "webhooks:write",
        "Change address, event types or description of a webhook, stop it or let it run again",
        body=schemas.WebhookChangeIn, body_limit=_BODY_LIMIT, returns=schemas.WebhookOut,
        tags=("webhooks",),
    ),
    Endpoint(
        "DELETE", "/api/v1/webhooks/{webhook}", delete_webhook, "webhooks:write",
        "Take a webhook away with its deliveries", tags=("webhooks",),
    ),
    Endpoint(
        "POST", "/api/v1/webhooks/{webhook}/secret", replace_secret, "webhooks:write",
        "Give a webhook a new secret, shown this once; the one before signs as well for 24 h",
        returns=schemas.SecretOut, tags=("webhooks",),
    ),
    Endpoint(
        "POST", "/api/v1/webhooks/{webhook}/test", test_webhook, "webhooks:write",
        "Send a test message, once",
        returns=schemas.DeliveryOut, status=202, tags=("webhooks",),
    ),
    Endpoint(
        "GET", "/api/v1/webhooks/{webhook}/deliveries", list_deliveries, "webhooks:read",
        "What was sent to a webhook and what came of it, newest first",
        query=schemas.DeliveriesQuery, returns=schemas.DeliveriesOut, tags=("webhooks",),
    ),
    Endpoint(
        "POST", "/api/v1/webhooks/deliveries/{delivery}/replay", replay_delivery, "webhooks:write",
        "Send a message again that was delivered or given up, with the same id",
        returns=schemas.DeliveryOut, status=202, tags=("webhooks",),
    ),
    Endpoint(
        "GET", "/api/v1/thresholds", list_thresholds, "webhooks:read",
        "Figures that the organisation is told of, oldest first",
        returns=schemas.ThresholdsOut, tags=("webhooks",),
    ),
    Endpoint(
        "POST", "/api/v1/thresholds", add_threshold, "webhooks:write",
        "Be told where a metric of all users in a period is above or below a value",
        body=schemas.ThresholdIn, body_limit=_BODY_LIMIT, returns=schemas.ThresholdOut, status=201,
        tags=("webhooks",),
    ),
    Endpoint(
        "DELETE", "/api/v1/thresholds/{threshold}", delete_threshold, "webhooks:write",
        "Take a threshold away", tags=("webhooks",),
    ),
]  # fmt: skip
