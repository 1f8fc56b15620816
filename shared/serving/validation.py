"""From bytes to wire types: pydantic's findings as our errors.

Every finding names the field, the problem and the fix.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared.errors import Detail, InvalidInput, MalformedRequest, NotFound
from shared.ids import one_spelling
from shared.json_document import read_json, refused

_FIXES = {
    "missing": "add this field",
    "extra_forbidden": "remove this field or correct its name",
    "int_parsing": "send a whole number",
    "int_type": "send a whole number",
    "float_parsing": "send a number",
    "finite_number": "send a number of at most 1.7e308, or null",
    "bool_parsing": "send true or false",
    "string_type": "send a string",
    "uuid_parsing": "send a UUID such as 3f2a7c1e-9d1b-4c58-8d1f-0a4a8c1f5b11",
    "datetime_parsing": "send RFC 3339 with an offset, e.g. 2024-12-04T09:30:00+08:00",
    "datetime_from_date_parsing": "send RFC 3339 with an offset, e.g. 2024-12-04T09:30:00+08:00",
    "timezone_aware": "add the offset, e.g. 2024-12-04T09:30:00+08:00",
    "date_parsing": "send a date that exists, as YYYY-MM-DD",
    "date_from_datetime_parsing": "send a date that exists, as YYYY-MM-DD",
    "json_type": "send JSON",
}


def parse_body(model: type[BaseModel], body: bytes) -> Any:
    """The validated body.

    Raises MalformedRequest (400) for what is not JSON, UnsupportedMediaType (415) for JSON in
    another encoding than UTF-8, InvalidInput (422) for wrong values.
    """
    if not body:
        raise MalformedRequest("The body is empty. Send a JSON object.")
    return validate(model, read_json(body), "body")


def validate(model: type[BaseModel], value: Any, where: str) -> Any:
    """`value`, as `read_json` gives it, by `model`; InvalidInput that names each wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False), where) from error


def parse_params(params: Mapping[str, str]) -> dict[str, str]:
    """Path parameters, percent-decoded once, in the one spelling of ids; NotFound for what no id
    has: a control character, or bytes that are no UTF-8.
    """
    if not params:
        return {}
    try:
        values = {
            name: one_spelling(unquote(value, errors="strict")) for name, value in params.items()
        }
    except UnicodeDecodeError:
        raise NotFound("There is no such path: an id is percent-encoded UTF-8.") from None
    if any(character < " " for value in values.values() for character in value):
        raise NotFound("There is no such path: an id holds no control characters.")
    return values


def _refuse_control(name: str, value: str) -> None:
    if any(character < " " for character in value):
        fix = "remove it; ids and words have none"
        raise InvalidInput.of(name, "holds a control character", fix)


def parse_query(model: type[BaseModel] | None, query_string: bytes) -> Any:
    """The validated query; a parameter given twice is refused rather than guessed at.

    `query_string` as it came; MalformedRequest (400) if it is not UTF-8 once decoded.
    """
    if model is None and not query_string:
        return None
    try:
        pairs = parse_qsl(query_string.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        wrong = Detail("query", "is not UTF-8 once decoded", "percent-encode UTF-8")
        raise MalformedRequest(
            f"The query {wrong.problem}; {wrong.fix}.", details=[wrong]
        ) from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise InvalidInput.of(name, "is given more than once", "give it once")
        _refuse_control(name, value)
        values[name] = value
    if model is None:
        return None
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False), "query") from error


def invalid(findings: Sequence[ErrorDetails], where: str) -> InvalidInput:
    """InvalidInput with one detail per finding, at most 50."""
    return refused([detail(finding, where) for finding in findings])


def detail(finding: ErrorDetails, where: str) -> Detail:
    """One pydantic finding as field, problem and fix."""
    field = ".".join(str(part) for part in finding["loc"]) or where
    problem = finding["msg"].removeprefix("Value error, ")
    kind = finding["type"]
    fix = _FIXES.get(kind)
    if fix is None:
        context = finding.get("ctx", {})
        fix = str(
            context.get("fix")
            or (
                f"send {context['expected']}"
                if "expected" in context
                else "send a value within the limits in /openapi.json"
            )
        )
    return Detail(field[:200], problem[:500], fix[:500])
