"""What a provider's files say of the lines of a batch: what each is charged, and what its client gets.

Lines that are in none of the files were answered if the batch was completed, as far as anybody can
tell, and are charged their worst case; else they never ran, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson

from ai_services.llm.asking.charge import Charge, Terms
from ai_services.llm.asking.question import Read
from ai_services.llm.batches.batch import Batch, Ended, Endpoint, Line
from ai_services.llm.privacy.mask import Placeholders
from ai_services.llm.privacy.restore import Restorer
from ai_services.llm.protocol.answer import read_answer, read_embeddings_answer, read_object
from ai_services.llm.protocol.usage import Usage
from ai_services.llm.spend.attempt import Outcome, Settlement
from shared.errors import UpstreamError

_NOTHING: Final = Charge(Usage(), Decimal(0), "none")
_NOT_RUN: Final[Mapping[Ended, str]] = {
    "expired": "The batch was not answered in time: this request was not carried out.",
    "cancelled": "The batch was cancelled before this request was carried out.",
    "failed": "The batch failed before this request was carried out.",
    "completed": "The provider has no answer to this request.",
}
_INVALID: Final = "The provider's answer is not what was asked for."
_SHOWN: Final = 500  # characters of a provider's message


@dataclass(slots=True)
class Results:
    """`settlements` by attempt; `output` and `errors` are lines for the client's two files."""

    settlements: list[tuple[UUID, Settlement]] = field(default_factory=list)
    output: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)


def results(
    batch: Batch,
    status: Ended,
    lines: Sequence[Line],
    files: Sequence[bytes],
    placeholders: Mapping[str, Placeholders],
    latency_ms: int,
) -> Results:
    """Of a batch that ended with `status`; `files` are the provider's, of answers and of errors."""
    said: dict[str, Mapping[str, Any]] = {}
    for one in _said(files):
        said.setdefault(one["custom_id"], one)
    found = Results()
    for line in lines:
        known = said.get(str(line.attempt_id))
        terms = Terms(line.worst, line.input_estimate, batch.price)
        if known is None:
            charge, outcome = _unknown(terms, status)
            code = "no_answer" if status == "completed" else f"batch_{status}"
            found.errors.append(_error(line, {"code": code, "message": _NOT_RUN[status]}))
        else:
            hidden = placeholders.get(str(line.attempt_id), {})
            charge, outcome = _take(found, batch, line, terms, known, hidden)
        found.settlements.append(
            (
                line.attempt_id,
                Settlement(charge.usage, charge.cost, latency_ms, None, outcome, charge.source),
            )
        )
    return found


def _said(files: Sequence[bytes]) -> Iterator[Mapping[str, Any]]:
    for file in files:
        for raw in file.split(b"\n"):
            try:
                one = orjson.loads(raw) if raw.strip() else None
            except orjson.JSONDecodeError:
                continue  # that line counts as not answered
            if isinstance(one, dict) and isinstance(one.get("custom_id"), str):
                yield one


def _unknown(terms: Terms, status: Ended) -> tuple[Charge, Outcome]:
    if status == "completed":
        return Charge(terms.worst, terms.price.cost(terms.worst), "estimate"), "invalid"
    return _NOTHING, "cancelled" if status == "cancelled" else "error"


def _take(
    found: Results,
    batch: Batch,
    line: Line,
    terms: Terms,
    known: Mapping[str, Any],
    hidden: Placeholders,
) -> tuple[Charge, Outcome]:
    """Note what the client gets of a line; what it is charged."""
    response = known.get("response")
    response = response if isinstance(response, dict) else {}
    if response.get("status_code") != 200:
        error = known.get("error")
        found.errors.append(_error(line, error if isinstance(error, dict) else None, response))
        return _NOTHING, "error"
    body = orjson.dumps(response.get("body"))
    try:
        read = _read(batch.endpoint, body)
    except UpstreamError:
        found.errors.append(_error(line, {"code": "invalid_answer", "message": _INVALID}))
        return terms.counted(body.decode(errors="replace")), "invalid"
    document = read.document
    if hidden:
        document = Restorer(hidden).answer(document)
    answer = {"status_code": 200, "body": {**document, "model": batch.model}}
    found.output.append(_written(line, {"response": answer, "error": None}))
    return terms.charged(read.usage, read.text), "refused" if read.refused else "ok"


def _read(endpoint: Endpoint, body: bytes) -> Read:
    if endpoint == "/v1/chat/completions":
        answer = read_answer(body)
        return Read(answer.document, answer.usage, answer.text, answer.is_refused)
    document = read_object(body)
    data = document.get("data")
    vectors = max(1, len(data)) if isinstance(data, list) else 1
    document = read_embeddings_answer(body, vectors)
    return Read(document, document.get("usage"), "")


def _error(
    line: Line, error: Mapping[str, Any] | None, response: Mapping[str, Any] | None = None
) -> bytes:
    """A line of the file of errors; of what the provider says only its code and its words."""
    status = response.get("status_code") if response else None
    answer = None
    if isinstance(status, int):
        body = response.get("body") if response else None
        inner = body.get("error") if isinstance(body, dict) else None
        answer = {"status_code": status, "body": {"error": _brief(inner)}}
    return _written(line, {"response": answer, "error": _brief(error)})


def _brief(error: object) -> dict[str, str | None] | None:
    if not isinstance(error, dict):
        return None
    code, message = error.get("code"), error.get("message")
    return {
        "code": code[:100] if isinstance(code, str) else None,
        "message": message[:_SHOWN] if isinstance(message, str) else None,
    }


def _written(line: Line, said: Mapping[str, Any]) -> bytes:
    about = {"id": f"batch_req_{line.attempt_id.hex}", "custom_id": line.custom_id}
    return orjson.dumps({**about, **said})
