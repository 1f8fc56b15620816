"""How a service's instances are treated, as the tables `[services.NAME]` of the route file say.

[services.portrait]
balance = "least_request"            # or "ewma", "hash", "weighted"
versions = { "1" = 95, "2" = 5 }     # a canary: shares of the requests by version
breaker = { consecutive = 5 }        # likewise outliers, health, slow_start, retry, budget,
                                     # shedding, streams; fields as in their policies
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.resilience.breaker import BreakerPolicy
from gateway.resilience.health_check import HealthPolicy
from gateway.resilience.outliers import OutlierPolicy
from gateway.resilience.retries import BudgetPolicy, RetryPolicy
from gateway.resilience.shedding import SheddingPolicy
from gateway.resilience.slow_start import SlowStartPolicy
from gateway.upstream.balancer import BALANCERS
from shared.errors import ConfigError

_MAY_BE_OFF: Final = frozenset({"errors", "gateway_errors", "most"})  # None, written as false
_SCALARS: Final = frozenset({"balance", "versions", "health_path"})


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """Everything that a pool of instances is run by."""

    balance: str = "least_request"
    versions: Mapping[str, float] = field(default_factory=dict)  # empty: all versions alike
    health_path: str = "/ready"
    breaker: BreakerPolicy = BreakerPolicy()  # noqa: RUF009 - frozen
    outliers: OutlierPolicy = OutlierPolicy()  # noqa: RUF009 - frozen
    health: HealthPolicy | None = HealthPolicy()  # noqa: RUF009 - frozen; None: no active checks
    slow_start: SlowStartPolicy = SlowStartPolicy()  # noqa: RUF009 - frozen
    retry: RetryPolicy = RetryPolicy()  # noqa: RUF009 - frozen
    budget: BudgetPolicy = BudgetPolicy()  # noqa: RUF009 - frozen
    shedding: SheddingPolicy = SheddingPolicy(limit=1024)  # noqa: RUF009 - frozen
    streams: SheddingPolicy = SheddingPolicy(limit=16_384, batch_share=1.0)  # noqa: RUF009 - frozen


_PARTS: Final[Mapping[str, Any]] = {
    "breaker": BreakerPolicy,
    "outliers": OutlierPolicy,
    "health": HealthPolicy,
    "slow_start": SlowStartPolicy,
    "retry": RetryPolicy,
    "budget": BudgetPolicy,
    "shedding": SheddingPolicy,
    "streams": SheddingPolicy,
}


def parse_policy(item: object, base: ServicePolicy, label: str) -> ServicePolicy:
    """The policy that `item` writes on top of `base`; ConfigError that starts with `label`."""
    if not isinstance(item, dict):
        raise ConfigError(f"{label} must be a table.")
    known = {*_SCALARS, *_PARTS}
    if unknown := sorted(set(item) - known):
        raise ConfigError(f"{label}: unknown {unknown[0]!r}. Known are {', '.join(sorted(known))}.")
    changes: dict[str, Any] = {}
    for name, value in item.items():
        where = f"{label}: {name}"
        if name == "balance":
            changes[name] = _balance(value, where)
        elif name == "versions":
            changes[name] = _versions(value, where)
        elif name == "health_path":
            if not isinstance(value, str) or not value.startswith("/"):
                raise ConfigError(f'{where} must be a path such as "/ready".')
            changes[name] = value
        elif name == "health" and value is False:
            changes[name] = None
        else:
            changes[name] = _part(_PARTS[name], getattr(base, name), value, where)
    return dataclasses.replace(base, **changes)


def _balance(value: object, where: str) -> str:
    if not isinstance(value, str) or value not in BALANCERS:
        raise ConfigError(f"{where} must be one of {', '.join(BALANCERS)}.")
    return value


def _versions(value: object, where: str) -> Mapping[str, float]:
    if (
        not isinstance(value, dict)
        or not value
        or not all(_is_number(one) and one >= 0 for one in value.values())
        or not any(value.values())
    ):
        raise ConfigError(
            f"{where} must give each version a share, one of them above 0: "
            'versions = { "1" = 95, "2" = 5 }.'
        )
    return {str(name): float(share) for name, share in value.items()}


def _part(kind: Any, base: Any, value: object, where: str) -> Any:
    """A policy of `kind` whose fields are numbers (or lists of statuses)."""
    # By their defaults: the compiled classes keep no annotations.
    usual = kind()
    fields = {one.name: type(getattr(usual, one.name)) for one in dataclasses.fields(kind)}
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table with fields of {', '.join(sorted(fields))}.")
    changes: dict[str, Any] = {}
    for name, one in value.items():
        if name not in fields:
            raise ConfigError(f"{where}: unknown {name!r}. Known are {', '.join(sorted(fields))}.")
        if one is False and name in _MAY_BE_OFF:
            changes[name] = None
        else:
            wanted = int if name in _MAY_BE_OFF else fields[name]
            changes[name] = _value(one, wanted, f"{where}.{name}")
    return dataclasses.replace(base if base is not None else kind(), **changes)


def _value(value: object, kind: type, where: str) -> Any:
    if kind is frozenset:
        if not isinstance(value, list) or not all(
            isinstance(one, int) and 400 <= one <= 599 for one in value
        ):
            raise ConfigError(f"{where} must be a list of statuses such as [502, 503].")
        return frozenset(value)
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{where} must be true or false.")
        return value
    if not _is_number(value) or not isinstance(value, int | float) or value < 0:
        raise ConfigError(f"{where} must be a number of 0 or more.")
    if kind is int and not isinstance(value, int):
        raise ConfigError(f"{where} must be a whole number.")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
