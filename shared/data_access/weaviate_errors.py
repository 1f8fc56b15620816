"""Which kind of store error each of the Weaviate client's errors is."""

from __future__ import annotations

import httpx
from grpc import StatusCode  # type: ignore[import-untyped]  # no types published
from grpc.aio import AioRpcError  # type: ignore[import-untyped]  # no types published
from weaviate import exceptions

from shared.data_access.errors import Kind, Translator
from shared.errors import StoreError, StoreUnavailable

DRIVER_ERRORS: tuple[type[BaseException], ...] = (
    exceptions.WeaviateBaseError,
    exceptions.WeaviateProtobufIncompatibility,
    httpx.HTTPError,
    httpx.StreamError,
    AioRpcError,
)
_UNAVAILABLE = (
    exceptions.WeaviateConnectionError,
    exceptions.WeaviateStartUpError,
    exceptions.WeaviateGRPCUnavailableError,
    exceptions.WeaviateTimeoutError,
    exceptions.WeaviateRetryError,
    exceptions.WeaviateClosedClientError,
    exceptions.AuthenticationFailedError,  # our credentials are refused: the operator's to repair
    httpx.HTTPError,
    httpx.StreamError,
)
_UNAVAILABLE_CODES = (
    StatusCode.UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.UNAUTHENTICATED,
)


def classify(error: BaseException) -> Kind:
    if _grpc_code(error) in _UNAVAILABLE_CODES:
        return StoreUnavailable
    if isinstance(error, _UNAVAILABLE):
        return StoreUnavailable
    if isinstance(error, exceptions.UnexpectedStatusCodeError):
        # 401: our credentials. gRPC's codes are below 17.
        refused = error.status_code in (401, 429) or error.status_code >= 500
        return StoreUnavailable if refused else StoreError
    return StoreError


def describe(error: BaseException) -> str:
    """Codes of a server's error: its message quotes objects."""
    code = _grpc_code(error)
    if code is not None:
        return str(code.name)
    if isinstance(error, exceptions.UnexpectedStatusCodeError):
        return str(error.status_code)
    if isinstance(error, exceptions.WeaviateQueryError):
        return "refused"
    return str(error)


def _grpc_code(error: BaseException) -> StatusCode | None:
    """The status of a gRPC error or of the one that the client wrapped, without naming it."""
    wrapped: BaseException | None = error
    while wrapped is not None:
        if isinstance(wrapped, AioRpcError):
            return wrapped.code()
        wrapped = wrapped.__cause__ or wrapped.__context__
    return None


WEAVIATE = Translator("vector store", DRIVER_ERRORS, classify, describe=describe)
