"""Endpoints of the auth service: parse, call, respond."""

import re
from typing import Any, Final
from uuid import UUID

from sanic.response import HTTPResponse

from ai_services.auth import schemas
from ai_services.auth.service import Auth
from shared.errors import InvalidInput, NotFound
from shared.security import PUBLIC, SELF
from shared.serving.envelope import json_response, success
from shared.serving.service import Call, Endpoint

_BODY_LIMIT: Final = 16 << 10
_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}")


async def login(call: Call[Auth]) -> HTTPResponse:
    signed_in = await call.state.login(call.body.email, call.body.password, _address(call))
    return _secret(call, schemas.TokensOut.model_validate(signed_in))


async def refresh(call: Call[Auth]) -> HTTPResponse:
    signed_in = await call.state.sessions.refresh(call.body.refresh_token, _address(call))
    return _secret(call, schemas.TokensOut.model_validate(signed_in))


async def logout(call: Call[Auth]) -> None:
    await call.state.sessions.logout(call.principal)


async def me(call: Call[Auth]) -> schemas.Me:
    return schemas.Me.of(await call.state.me(call.principal))


async def change_password(call: Call[Auth]) -> schemas.SessionsEnded:
    body = call.body
    ended = await call.state.users.change_password(
        call.principal, body.current_password, body.new_password, _address(call),
        end_keys=body.end_keys,
    )  # fmt: skip
    return schemas.SessionsEnded.model_validate(ended)


async def list_users(call: Call[Auth]) -> schemas.UserPage:
    q = call.query
    found = await call.state.users.listing(call.principal, limit=q.limit, cursor=q.cursor)
    return schemas.UserPage.model_validate(found)


async def create_user(call: Call[Auth]) -> schemas.UserOut:
    body = call.body
    user = await call.state.users.create(
        call.principal,
        email=body.email,
        name=body.name,
        role=body.role,
        password=body.password,
        idempotency_key=_idempotency_key(call),
    )
    return schemas.UserOut.model_validate(user)


async def get_user(call: Call[Auth]) -> schemas.UserOut:
    user = await call.state.users.get(call.principal, _id(call, "user_id"))
    return schemas.UserOut.model_validate(user)


async def update_user(call: Call[Auth]) -> schemas.UserOut:
    body = call.body
    user = await call.state.users.update(
        call.principal,
        _id(call, "user_id"),
        name=body.name,
        role=body.role,
        disabled=body.disabled,
    )
    return schemas.UserOut.model_validate(user)


async def delete_user(call: Call[Auth]) -> None:
    await call.state.users.delete(call.principal, _id(call, "user_id"))


async def set_password(call: Call[Auth]) -> schemas.SessionsEnded:
    ended = await call.state.users.set_password(
        call.principal, _id(call, "user_id"), call.body.password, end_keys=call.body.end_keys
    )
    return schemas.SessionsEnded.model_validate(ended)


async def list_keys(call: Call[Auth]) -> schemas.ApiKeyPage:
    q = call.query
    found = await call.state.api_keys.listing(call.principal, limit=q.limit, cursor=q.cursor)
    return schemas.ApiKeyPage.model_validate(found)


async def create_key(call: Call[Auth]) -> HTTPResponse:
    body = call.body
    made = await call.state.api_keys.create(
        call.principal,
        name=body.name,
        role=body.role,
        expires_at=body.expires_at,
        idempotency_key=_idempotency_key(call),
    )
    return _secret(call, schemas.NewApiKeyOut.of(made), status=201)


async def transfer_key(call: Call[Auth]) -> schemas.ApiKeyOut:
    key = await call.state.api_keys.transfer(call.principal, _id(call, "key_id"), call.body.role)
    return schemas.ApiKeyOut.model_validate(key)


async def revoke_key(call: Call[Auth]) -> None:
    await call.state.api_keys.revoke(call.principal, _id(call, "key_id"))


async def list_audit(call: Call[Auth]) -> schemas.AuditPage:
    q = call.query
    found = await call.state.audit_log(call.principal, limit=q.limit, cursor=q.cursor)
    return schemas.AuditPage.model_validate(found)


async def jwks(call: Call[Auth]) -> HTTPResponse:
    keys = await call.state.signer.jwks()
    return json_response(keys, 200, {"Cache-Control": "public, max-age=60"})


async def verify_key(call: Call[Auth]) -> schemas.VerifiedKey:
    key = await call.state.verify_key(call.principal, bytes.fromhex(call.body.hash))
    return schemas.VerifiedKey.model_validate(key)


async def list_revocations(call: Call[Auth]) -> schemas.RevocationPage:
    q = call.query
    return schemas.RevocationPage.of(
        await call.state.revoked(call.principal, since=q.since, cursor=q.cursor, limit=q.limit)
    )


def _address(call: Call[Auth]) -> str:
    """The client's address as the gateway saw it; empty without a gateway in front."""
    return str(call.request.headers.get("x-client-address", ""))


def _id(call: Call[Auth], name: str) -> UUID:
    try:
        return UUID(call.params[name])
    except ValueError as error:
        raise NotFound("There is nothing with this id in your organisation.") from error


def _idempotency_key(call: Call[Auth]) -> str | None:
    key = call.request.headers.get("idempotency-key")
    if key is not None and _IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise InvalidInput.of(
            "Idempotency-Key", "is empty, too long or not ASCII", "send 1 to 255 characters, a UUID"
        )
    return key


def _secret(call: Call[Auth], data: Any, *, status: int = 200) -> HTTPResponse:
    response = success(data, call.request_id, status)
    response.headers["Cache-Control"] = "no-store"
    return response


endpoints: list[Endpoint[Auth]] = [
    Endpoint(
        "POST", "/api/v1/auth/login", login, PUBLIC, "Sign in with e-mail address and password",
        body=schemas.LoginIn, returns=schemas.TokensOut, body_limit=_BODY_LIMIT,
    ),
    Endpoint(
        "POST", "/api/v1/auth/refresh", refresh, PUBLIC,
        "Swap a refresh token for a new pair; a second use of one ends the session",
        body=schemas.RefreshIn, returns=schemas.TokensOut, body_limit=_BODY_LIMIT,
    ),
    Endpoint("POST", "/api/v1/auth/logout", logout, SELF, "End the session"),
    Endpoint("GET", "/api/v1/auth/me", me, SELF, "Who the caller is", returns=schemas.Me),
    Endpoint(
        "POST", "/api/v1/auth/password", change_password, SELF,
        "Change the own password; other sessions end",
        body=schemas.PasswordChangeIn, returns=schemas.SessionsEnded, body_limit=_BODY_LIMIT,
    ),
    Endpoint(
        "GET", "/api/v1/users", list_users, "users:admin", "Users, oldest first",
        query=schemas.ListQuery, returns=schemas.UserPage,
    ),
    Endpoint(
        "POST", "/api/v1/users", create_user, "users:admin", "Create a user",
        body=schemas.UserIn, returns=schemas.UserOut, status=201, body_limit=_BODY_LIMIT,
    ),
    Endpoint(
        "GET", "/api/v1/users/{user_id}", get_user, "users:admin", "One user",
        returns=schemas.UserOut,
    ),
    Endpoint(
        "PATCH", "/api/v1/users/{user_id}", update_user, "users:admin",
        "Change name, role or disabled; losing rights ends sessions, being disabled API keys, too",
        body=schemas.UserChangeIn, returns=schemas.UserOut, body_limit=_BODY_LIMIT,
    ),
    Endpoint(
        "DELETE", "/api/v1/users/{user_id}", delete_user, "users:admin",
        "Remove a user; their sessions and API keys end",
    ),
    Endpoint(
        "POST", "/api/v1/users/{user_id}/password", set_password, "users:admin",
        "Give a user a new password; their sessions end",
        body=schemas.PasswordIn, returns=schemas.SessionsEnded, body_limit=_BODY_LIMIT,
    ),
    Endpoint(
        "GET", "/api/v1/keys", list_keys, "keys:admin", "API keys, oldest first",
        query=schemas.ListQuery, returns=schemas.ApiKeyPage,
    ),
    Endpoint(
        "POST", "/api/v1/keys", create_key, "keys:admin", "Create an API key, shown this once",
        body=schemas.ApiKeyIn, returns=schemas.NewApiKeyOut, status=201, body_limit=_BODY_LIMIT,
    ),
    Endpoint(
        "POST", "/api/v1/keys/{key_id}/transfer", transfer_key, "keys:admin",
        "Hand a living API key over to the organisation, which keeps it when its owner goes",
        body=schemas.TransferIn, returns=schemas.ApiKeyOut, body_limit=_BODY_LIMIT,
    ),
    Endpoint(
        "DELETE", "/api/v1/keys/{key_id}", revoke_key, "keys:admin", "Revoke an API key",
    ),
    Endpoint(
        "GET", "/api/v1/audit", list_audit, "audit:read", "The audit log, newest first",
        query=schemas.ListQuery, returns=schemas.AuditPage,
    ),
    Endpoint(
        "GET", "/.well-known/jwks.json", jwks, PUBLIC,
        "The keys that verify access tokens, as a bare JWK set", returns=schemas.Jwks,
        enveloped=False,
    ),
    Endpoint(
        "POST", "/internal/v1/keys/verify", verify_key, SELF,
        "Whose API key has this hash; for the gateway only",
        body=schemas.KeyHashIn, returns=schemas.VerifiedKey, body_limit=_BODY_LIMIT,
    ),
    Endpoint(
        "GET", "/internal/v1/revocations", list_revocations, SELF,
        "Sessions and keys that ended early; for the gateway only",
        query=schemas.RevocationsQuery, returns=schemas.RevocationPage,
    ),
]  # fmt: skip
