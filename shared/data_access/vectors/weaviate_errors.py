"""Which kind of store error each of the Weaviate client's errors is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import httpx
from grpc import StatusCode  # type: ignore[import-untyped]  # no types published
from grpc.aio import AioRpcError  # type: ignore[import-untyped]  # no types published
from weaviate import exceptions

from shared.data_access.errors import Kind, Translator
from shared.errors import StoreConflict, StoreError, StoreUnavailable

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
# All that gRPC knows; UNKNOWN is what Weaviate itself answers to a request that it can't carry out.
_BY_GRPC: Final[Mapping[StatusCode, Kind]] = MappingProxyType(
    {
        StatusCode.OK: StoreError,  # an error that says there was none
        StatusCode.CANCELLED: StoreUnavailable,
        StatusCode.UNKNOWN: StoreError,
        StatusCode.INVALID_ARGUMENT: StoreError,
        StatusCode.DEADLINE_EXCEEDED: StoreUnavailable,
        StatusCode.NOT_FOUND: StoreError,
        StatusCode.ALREADY_EXISTS: StoreConflict,
        StatusCode.PERMISSION_DENIED: StoreUnavailable,  # the operator's to repair
        StatusCode.RESOURCE_EXHAUSTED: StoreUnavailable,
        StatusCode.FAILED_PRECONDITION: StoreError,
        StatusCode.ABORTED: StoreConflict,
        StatusCode.OUT_OF_RANGE: StoreError,
        StatusCode.UNIMPLEMENTED: StoreError,
        StatusCode.INTERNAL: StoreError,
        StatusCode.UNAVAILABLE: StoreUnavailable,
        StatusCode.DATA_LOSS: StoreError,
        StatusCode.UNAUTHENTICATED: StoreUnavailable,  # the operator's to repair
    }
)
# Weaviate answers 500 for a disk that is full or read-only, too.
_BY_STATUS: Final[Mapping[int, Kind]] = MappingProxyType(
    {
        401: StoreUnavailable,  # our credentials are refused: the operator's to repair
        403: StoreUnavailable,
        408: StoreUnavailable,
        409: StoreConflict,
        429: StoreUnavailable,
    }
)


def classify(error: BaseException) -> Kind:
    code = _grpc_code(error)
    if code is not None:
        return _BY_GRPC[code]
    if isinstance(error, exceptions.UnexpectedStatusCodeError):
        broken = StoreUnavailable if error.status_code >= 500 else StoreError
        return _BY_STATUS.get(error.status_code, broken)
    return StoreUnavailable if isinstance(error, _UNAVAILABLE) else StoreError


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


WEAVIATE = Translator("vector store", DRIVER_ERRORS, classify, describe=describe, system="weaviate")
