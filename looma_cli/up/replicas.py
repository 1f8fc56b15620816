"""How often each service runs: what `looma up --replicas enrichment=3,portrait=2` asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from shared.errors import ConfigError
from shared.services import GATEWAY, SERVICE_NAMES

MOST: Final = 64
_EXAMPLE: Final = "--replicas enrichment=3,portrait=2"


def parsed(given: Iterable[str]) -> Mapping[str, int]:
    """Service → how many replicas, of the option's values; ConfigError that says what to write."""
    replicas: dict[str, int] = {}
    for part in (part.strip() for one in given for part in one.split(",")):
        name, equals, number = (word.strip() for word in part.partition("="))
        if not equals:
            raise _wrong(f"{part!r} does not say how many", f"write NAME=NUMBER, e.g. {_EXAMPLE}")
        if name == GATEWAY.name:
            raise _wrong(
                "there is one gateway on one port", f"set GATEWAY_WORKERS={number} for more of it"
            )
        if name not in SERVICE_NAMES:
            raise _wrong(f"there is no service {name!r}", f"name one of {', '.join(SERVICE_NAMES)}")
        if name in replicas:
            raise _wrong(f"{name} is named twice", "name each service once")
        replicas[name] = _number(name, number)
    return replicas


def written(replicas: Mapping[str, int]) -> str:
    """As the option's one value, for another process."""
    return ",".join(f"{name}={number}" for name, number in replicas.items())


def _number(name: str, text: str) -> int:
    # int() reads the digits of every script, and takes long over many.
    number = int(text) if re.fullmatch("[0-9]{1,6}", text) else 0
    if not 1 <= number <= MOST:
        raise _wrong(f"{name}={text[:20]} is no number of replicas", f"write one from 1 to {MOST}")
    return number


def _wrong(problem: str, fix: str) -> ConfigError:
    return ConfigError(f"--replicas: {problem}. {fix[0].upper()}{fix[1:]}.")
