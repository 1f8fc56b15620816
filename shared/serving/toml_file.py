"""TOML files that operators write: read, checked against a model, explained in one line when wrong.

A model says what a field must be in the field's `description` ("a number of seconds from 60 to
86400"); every finding about that field is told with it. A rule that needs words of its own is a
validator that raises ValueError with them; one that raises it without words means the description.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from shared.errors import ConfigError

T = TypeVar("T", bound="Table")
_SHOWN: Final = 100  # characters of a wrong value
# A misspelt key is both unknown and missing: what was written is the better hint.
_FIRST: Final = ("extra_forbidden", "missing")


class Table(BaseModel):
    """One table of a file, read strictly: no unknown keys, and no number that is written as a text."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def one_of(words: Collection[str], default: Any = ...) -> Any:
    """The field of a text that must be one of `words`; required unless there is a default."""
    pattern = f"^(?:{'|'.join(map(re.escape, words))})$"
    return Field(default, pattern=pattern, description=f"one of {', '.join(words)}")


def read_toml(path: Path, setting: str, *, exact: bool = False) -> dict[str, Any]:
    """The document in a file that `setting` names; ConfigError if it can't be read or isn't TOML.

    `exact`: numbers with a fraction are Decimal, as amounts of money have to be.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"), parse_float=Decimal if exact else float)
    except OSError as error:
        raise ConfigError(
            f"{setting}: can't read {path}: {error.strerror}. Name a readable TOML file."
        ) from error
    except ValueError as error:
        raise ConfigError(f"{setting}: {path} is not TOML: {error}.") from error


def checked(model: type[T], value: object, label: str) -> T:
    """`value`, a part of a document, as `model`.

    ConfigError that starts with `label` and names the field, the problem and what to write.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{label} must be a table.")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        findings = error.errors(include_url=False)
    ranks = {kind: rank for rank, kind in enumerate(_FIRST)}
    finding = min(findings, key=lambda one: ranks.get(one["type"], len(ranks)))
    # Not chained: pydantic's own text shows values that may be secrets.
    raise ConfigError(f"{label}: {_explained(model, finding)}")


def _explained(model: type[BaseModel], finding: ErrorDetails) -> str:
    places = list(finding["loc"])
    while places and isinstance(places[-1], int):
        places.pop()  # a description is of the list, not of one in it
    names = [part for part in places if isinstance(part, str)]
    fields: Mapping[str, FieldInfo] = model.model_fields
    wanted = ""
    for name in names:
        if name not in fields:
            break
        wanted = f"must be {fields[name].description}"
        fields = _fields_in(fields[name])
    where, kind = ".".join(map(str, places)), finding["type"]
    if kind == "extra_forbidden":
        inside = "".join(f"{place}: " for place in places[:-1])
        return f"{inside}unknown {names[-1]!r}. Known are {', '.join(sorted(fields))}."
    if kind == "missing":
        return f"{where} is missing. It {wanted}."
    said = str(finding["ctx"]["error"]) if kind == "value_error" else ""
    if said:
        return f"{where}: {said}" if where else said
    return f"{where} {wanted} (it is {_shown(finding['input'])})."


def _fields_in(field: FieldInfo) -> Mapping[str, FieldInfo]:
    """Those of the table that a field holds, if it holds one."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind.model_fields
    return {}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
