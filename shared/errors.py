"""Every error that crosses a module border, and how it looks to a client.

    LoomaError
    ├── ConfigError                     (stops a process at start)
    ├── InvalidInput            422     a value is wrong: names field, problem, fix
    │   ├── MalformedRequest    400     not JSON, not HTTP, not UTF-8
    │   ├── ContextTooLong      400     more than the model can read
    │   └── ContentRefused      400     the model or its provider will not answer this
    ├── PayloadTooLarge         413
    ├── Unauthenticated         401
    ├── BudgetExceeded          402     says which budget, what is left, when it renews
    ├── Forbidden               403
    ├── NotFound                404
    │   └── ModelNotFound       404     a language model that nobody has named
    ├── MethodNotAllowed        405
    ├── Conflict                409
    │   ├── JobStopped          409     a job lost its claim or is to stop: its effect isn't made
    │   └── JobInVain           409     what a job is for is gone: it isn't tried again
    ├── PreconditionFailed      412     it isn't any more as the client last saw it (If-Match)
    ├── TooManyRequests         429     + Retry-After
    ├── RequestTimeout          408     the request came too slowly
    ├── UriTooLong              414
    ├── UnsupportedMediaType    415     not JSON by its headers, or in another coding
    ├── ExpectationFailed       417     an Expect other than 100-continue
    ├── UpgradeRequired         426     the path is a WebSocket
    ├── HeadersTooLarge         431     too many header fields, or too long
    ├── StoreError              500     a store refused a correct request
    │   ├── StoreConflict       409     unique or serialisation conflict
    │   └── StoreUnavailable    503     + Retry-After
    ├── UpstreamError           502     + Retry-After; an answer that is not one
    │   ├── UpstreamUnavailable 503
    │   └── UpstreamTimeout     504
    ├── NoModel                 503     there is no provider of language models
    ├── NoPrice                 503     a model has no price on that day
    ├── AnswerInvalid           502     a model's answer is not what was asked for, twice
    └── InternalError           500     a defect; the log has the details

`render` is the one place where an error becomes an HTTP answer. Codes and names are
stable; docs/api.md lists them and a test compares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Self


@dataclass(frozen=True, slots=True)
class Detail:
    """One wrong value: where it stands, what is wrong with it, what would be right."""

    field: str
    problem: str
    fix: str

    def to_json(self) -> dict[str, str]:
        return {
            "field": _writable(self.field),
            "problem": _writable(self.problem),
            "fix": _writable(self.fix),
        }


class LoomaError(Exception):
    status: ClassVar[int] = 500
    code: ClassVar[int] = 1000
    name: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        details: Sequence[Detail] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        if self.retry_after is None:
            return {}
        # Rounded up: who comes back before the time is turned away again.
        return {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


class ConfigError(LoomaError):
    code = 1001
    name = "config_error"


class InvalidInput(LoomaError):
    status = 422
    code = 1002
    name = "invalid_input"

    @classmethod
    def of(cls, field: str, problem: str, fix: str) -> Self:
        """Of one value. `field` may be as a client wrote it: 100 characters of it are shown."""
        shown = _writable(field[:100])
        return cls(f"{shown}: {problem}; {fix}.", details=[Detail(shown, problem, fix)])


class MalformedRequest(InvalidInput):
    status = 400
    code = 1003
    name = "malformed_request"


class ContextTooLong(InvalidInput):
    status = 400
    code = 1044
    name = "context_length_exceeded"


class ContentRefused(InvalidInput):
    status = 400
    code = 1045
    name = "content_filter"


class PayloadTooLarge(LoomaError):
    status = 413
    code = 1004
    name = "payload_too_large"


class Unauthenticated(LoomaError):
    status = 401
    code = 1005
    name = "unauthenticated"

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "WWW-Authenticate": "Bearer"}


class Forbidden(LoomaError):
    status = 403
    code = 1006
    name = "forbidden"


class NotFound(LoomaError):
    status = 404
    code = 1007
    name = "not_found"


class ModelNotFound(NotFound):
    code = 1040
    name = "model_not_found"


class MethodNotAllowed(LoomaError):
    status = 405
    code = 1008
    name = "method_not_allowed"

    def __init__(self, message: str, *, allowed: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)

    def headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed)} if self.allowed else {}


class Conflict(LoomaError):
    status = 409
    code = 1009
    name = "conflict"


StopReason = Literal["lost", "cancelled", "paused", "shutdown"]


class JobStopped(Conflict):
    """Raised within a job, where it would have an effect; `reason` says who wants that."""

    def __init__(self, job_id: int, reason: StopReason) -> None:
        super().__init__(f"Job {job_id} has to stop: {_WHY_STOPPED[reason]}.")
        self.reason = reason


class JobInVain(Conflict):
    """Raised within a job that no further attempt could do: it is dead at once."""


_WHY_STOPPED: Mapping[StopReason, str] = {
    "lost": "its lease ran out and another worker has it",
    "cancelled": "it was cancelled",
    "paused": "it was paused",
    "shutdown": "its process ends",
}


class TooManyRequests(LoomaError):
    status = 429
    code = 1010
    name = "too_many_requests"


class RequestTimeout(LoomaError):
    status = 408
    code = 1011
    name = "request_timeout"


class UriTooLong(LoomaError):
    status = 414
    code = 1012
    name = "uri_too_long"


class ExpectationFailed(LoomaError):
    status = 417
    code = 1013
    name = "expectation_failed"


class HeadersTooLarge(LoomaError):
    status = 431
    code = 1014
    name = "headers_too_large"


class UpgradeRequired(LoomaError):
    status = 426
    code = 1015
    name = "upgrade_required"

    def headers(self) -> dict[str, str]:
        return {
            **super().headers(),
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
        }


class UnsupportedMediaType(LoomaError):
    """`coding`: whether it is the content coding that is not taken, rather than the media type.

    `accept` are the media types that would be.
    """

    status = 415
    code = 1016
    name = "unsupported_media_type"

    def __init__(
        self,
        message: str,
        *,
        details: Sequence[Detail],
        coding: bool = False,
        accept: Sequence[str] = ("application/json",),
    ) -> None:
        super().__init__(message, details=details)
        self.coding = coding
        self.accept = tuple(accept)

    def headers(self) -> dict[str, str]:
        """What would be taken (RFC 9110 §15.5.16)."""
        if self.coding:
            return {"Accept-Encoding": "identity"}
        return {"Accept": ", ".join(self.accept)}


class PreconditionFailed(LoomaError):
    status = 412
    code = 1018
    name = "precondition_failed"


class BudgetExceeded(LoomaError):
    """A hard budget can't hold what a request may cost, whatever others under way end up costing."""

    status = 402
    code = 1017
    name = "budget_exceeded"


class StoreError(LoomaError):
    code = 1020
    name = "store_error"


class StoreConflict(StoreError):
    status = 409
    code = 1021
    name = "store_conflict"


class StoreUnavailable(StoreError):
    status = 503
    code = 1022
    name = "store_unavailable"

    def __init__(self, message: str, *, retry_after: float = 2.0) -> None:
        super().__init__(message, retry_after=retry_after)


class UpstreamError(LoomaError):
    status = 502
    code = 1030
    name = "bad_gateway"

    def __init__(self, message: str, *, retry_after: float = 2.0) -> None:
        super().__init__(message, retry_after=retry_after)


class UpstreamUnavailable(UpstreamError):
    status = 503
    code = 1031
    name = "upstream_unavailable"


class UpstreamTimeout(UpstreamError):
    status = 504
    code = 1032
    name = "upstream_timeout"


class NoModel(LoomaError):
    status = 503
    code = 1041
    name = "no_model"


class NoPrice(LoomaError):
    status = 503
    code = 1042
    name = "no_price"


class AnswerInvalid(LoomaError):
    status = 502
    code = 1043
    name = "answer_invalid"


class InternalError(LoomaError):
    pass


def _writable(text: str) -> str:
    """Half a surrogate pair that a message quotes from a request can't be written as UTF-8."""
    return text.encode(errors="replace").decode()


def envelope(error: LoomaError, request_id: str) -> dict[str, Any]:
    """The failure body of the HTTP contract."""
    return {
        "code": error.code,
        "error": error.name,
        "message": _writable(error.message),
        "details": [detail.to_json() for detail in error.details],
        "request_id": request_id,
    }


_OPENAI_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}


def openai_body(error: LoomaError, request_id: str) -> dict[str, Any]:
    """The failure body of the routes that OpenAI's clients call, as they read it."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": _writable(error.message),
            "type": _OPENAI_TYPES.get(error.status, kind),
            "param": _writable(error.details[0].field) if error.details else None,
            "code": "rate_limit_exceeded" if error.status == 429 else error.name,
            "request_id": request_id,
        }
    }


def render(error: BaseException, request_id: str) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """Turn any exception into (status, body, headers).

    What is not a LoomaError is a defect: the client learns that and the request id, nothing else.
    """
    known = _known(error)
    return known.status, envelope(known, request_id), known.headers()


def render_openai(
    error: BaseException, request_id: str
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """`render` for the routes that OpenAI's clients call: values that are wrong are 400 there."""
    known = _known(error)
    status = 400 if isinstance(known, InvalidInput) else known.status
    return status, openai_body(known, request_id), known.headers()


def _known(error: BaseException) -> LoomaError:
    if isinstance(error, LoomaError):
        return error
    return InternalError(
        "Something broke on our side. Report the request_id; the log has the details."
    )
