"""From bytes to wire types: pydantic's findings as our errors.

Every finding names the field, the problem and the fix.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared.errors import Detail, InvalidInput, MalformedRequest, NotFound

_MAX_DETAILS = 50
_FIXES = {
    "missing": "add this field",
    "extra_forbidden": "remove this field or correct its name",
    "int_parsing": "send a whole number",
    "int_type": "send a whole number",
    "float_parsing": "send a number",
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


def parse_body(model: type[BaseModel] | None, body: bytes) -> Any:
    """The validated body; None where the route takes none.

    Raises MalformedRequest (400) for what is not JSON, InvalidInput (422) for wrong values.
    """
    if model is None:
        return None
    if not body:
        raise MalformedRequest("The body is empty. Send a JSON object.")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        findings = error.errors(include_url=False)
        if findings[0]["type"] == "json_invalid":
            raise MalformedRequest(
                "The body is not valid JSON.",
                details=[Detail("body", findings[0]["msg"], "send well-formed UTF-8 JSON")],
            ) from error
        raise invalid(findings, "body") from error


def parse_params(params: Mapping[str, str]) -> dict[str, str]:
    """Path parameters, percent-decoded once; NotFound for a control character, which no id has."""
    values = {name: unquote(value) for name, value in params.items()}
    if any(character < " " for value in values.values() for character in value):
        raise NotFound("There is no such path: an id holds no control characters.")
    return values


def _refuse_control(name: str, value: str) -> None:
    if any(character < " " for character in value):
        problem, fix = "holds a control character", "remove it; ids and words have none"
        raise InvalidInput(f"{name}: {problem}; {fix}", details=[Detail(name, problem, fix)])


def parse_query(model: type[BaseModel] | None, query_string: str) -> Any:
    """The validated query; a parameter given twice is refused rather than guessed at."""
    pairs = parse_qsl(query_string, keep_blank_values=True)
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            problem = Detail(name[:100], "is given more than once", "give it once")
            raise InvalidInput(
                f"The query parameter {name[:100]!r} is given more than once.", details=[problem]
            )
        _refuse_control(name[:100], value)
        values[name] = value
    if model is None:
        return None
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False), "query") from error


def invalid(findings: Sequence[ErrorDetails], where: str) -> InvalidInput:
    """InvalidInput with one detail per finding, at most 50."""
    details = [detail(finding, where) for finding in findings[:_MAX_DETAILS]]
    first = details[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return InvalidInput(f"{first.field}: {first.problem}; {first.fix}{more}", details=details)


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
