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
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, Strict, create_model

from gateway.resilience.breaker import BreakerPolicy
from gateway.resilience.health_check import HealthPolicy
from gateway.resilience.outliers import OutlierPolicy
from gateway.resilience.retries import BudgetPolicy, RetryPolicy
from gateway.resilience.shedding import SheddingPolicy
from gateway.resilience.slow_start import SlowStartPolicy
from gateway.upstream.balancer import BALANCERS
from shared.serving.toml_file import Table, checked, one_of

_MAY_BE_OFF: Final = frozenset({"errors", "gateway_errors", "most"})  # None, written as false


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
_NEVER_ZERO: Final = frozenset(
    {
        "breaker.window_s", "budget.window_s", "slow_start.aggression",  # divide
        "health.interval_s", "health.urgent_s", "health.concurrency",  # never pause, or never begin
    }
)  # fmt: skip
_OFF: Final = BeforeValidator(lambda value: None if value is False else value)


def _field(part: str, name: str, default: object) -> Any:
    """How the file writes a policy's field, by its default: compiled classes keep no annotations."""
    above_0 = f"{part}.{name}" in _NEVER_ZERO
    least: dict[str, Any] = {"gt": 0} if above_0 else {"ge": 0}
    said = "above 0" if above_0 else "of 0 or more"
    if name in _MAY_BE_OFF:
        return Annotated[int | None, _OFF], Field(
            default, **least, description=f"a whole number {said}"
        )
    if isinstance(default, bool):
        return bool, Field(default, description="true or false")
    if isinstance(default, int):
        return int, Field(default, **least, description=f"a whole number {said}")
    if isinstance(default, frozenset):
        kind = Annotated[frozenset[Annotated[int, Field(ge=400, le=599)]], Strict(False)]
        return kind, Field(default, description="a list of statuses such as [502, 503]")
    # Times go to other workers and to clients, shares are rounded: nothing may be without an end.
    return float, Field(default, **least, allow_inf_nan=False, description=f"a number {said}")


def _part(name: str, kind: Any) -> Any:
    usual = kind()
    names = [one.name for one in dataclasses.fields(kind)]
    fields: dict[str, Any] = {one: _field(name, one, getattr(usual, one)) for one in names}
    table = create_model(name, __base__=Table, **fields)
    wanted = Field(None, description=f"a table with fields of {', '.join(sorted(names))}")
    return (Annotated[table | None, _OFF] if name == "health" else table), wanted


def _any_share(versions: Mapping[str, float]) -> Mapping[str, float]:
    if not any(versions.values()):
        raise ValueError
    return versions


class _Own(Table):
    balance: str = one_of(BALANCERS, "")
    versions: Annotated[dict[str, Annotated[float, Field(ge=0)]], AfterValidator(_any_share)] = (
        Field({}, description='shares by version, one above 0, such as { "1" = 95, "2" = 5 }')
    )
    health_path: str = Field("", pattern="^/", description='a path such as "/ready"')


_PART_FIELDS: Final[Mapping[str, Any]] = {name: _part(name, kind) for name, kind in _PARTS.items()}
_Service = create_model("_Service", __base__=_Own, **_PART_FIELDS)


def parse_policy(item: object, base: ServicePolicy, label: str) -> ServicePolicy:
    """The policy that `item` writes on top of `base`; ConfigError that starts with `label`."""
    changes = checked(_Service, item, label).model_dump(exclude_unset=True)
    for name, kind in _PARTS.items():
        if changes.get(name) is not None:
            before = getattr(base, name)
            changes[name] = dataclasses.replace(
                kind() if before is None else before, **changes[name]
            )
    return dataclasses.replace(base, **changes)
