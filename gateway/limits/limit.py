"""One rate limit: how the route file writes it, and whom it counts.

    [NAME:] SCOPE RATE/PERIOD [burst N] [closed]

    "principal 100/s burst 200"     each caller of this route: 100 a second, 200 at once
    "address 20/m"                  each address: 20 a minute, all of them at once if it likes
    "api: organisation 5000/10s"    counted together over all routes that name the limit `api`
    "route 2/s closed"              refuse (503) rather than guess while Redis is away

Without a name a limit counts its own route only; those of roles all have one. PERIOD is s, m, h or
d, or several (`10s`). The burst is RATE unless given.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, cast, get_args
from uuid import UUID

from shared.errors import ConfigError
from shared.security import Principal

Scope = Literal["route", "principal", "organisation", "address"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
_NEEDS_SIGN_IN: Final = ("principal", "organisation")
EXAMPLE: Final = 'Example: limits = ["principal 100/s burst 200", "address 20/m"]'
_FORM: Final = re.compile(
    r"(?:(?P<name>[a-z][a-z0-9_-]{0,31}): *)?(?P<scope>[a-z]+) +(?P<rate>[0-9]{1,9})/"
    r"(?P<periods>[0-9]{1,6})?(?P<period>[smhd])(?: +burst +(?P<burst>[0-9]{1,9}))?(?P<closed> +closed)?"
)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOST: Final = 1_000_000
_LONGEST_S: Final = 31 * 86_400
_KEY_LENGTH: Final = 120

Subject = str | UUID


@dataclass(frozen=True, slots=True)
class Limit:
    """`rate` requests per `per_seconds`, at most `burst` of them at once, for each subject of `scope`."""

    name: str
    scope: Scope
    rate: int
    per_seconds: int
    burst: int
    closed: bool = False  # refuse rather than guess while the shared count can't be reached
    shared: bool = False  # counted over all routes that name it

    @property
    def interval(self) -> float:
        """Seconds after which one more request is allowed: GCRA's T."""
        return self.per_seconds / self.rate

    @property
    def tolerance(self) -> float:
        """Seconds in which an emptied bucket is full again: GCRA's tau + T."""
        return self.burst * self.interval

    @property
    def policy(self) -> str:
        """An item of `RateLimit-Policy`."""
        return f'"{self.name}";q={self.burst};w={max(1, math.ceil(self.tolerance))}'

    @property
    def written(self) -> str:
        """As the route table has it, in full."""
        name = f"{self.name}: " if self.shared else ""
        period = "s" if self.per_seconds == 1 else f"{self.per_seconds}s"
        closed = " closed" if self.closed else ""
        return f"{name}{self.scope} {self.rate}/{period} burst {self.burst}{closed}"


def parse_limits(
    items: Sequence[str], label: str, *, signed_in: bool, of_role: bool = False
) -> tuple[Limit, ...]:
    """The limits of one route or role, as they are written; ConfigError that starts with `label`.

    `signed_in`: whether callers of the route are known, so that principals can be counted.
    `of_role`: they are counted over all routes, so each needs a name.
    """
    limits = tuple(_limit(item, label) for item in items)
    names = [limit.name for limit in limits]
    for limit in limits:
        if names.count(limit.name) > 1:
            raise ConfigError(
                f"{label}: two limits are called {limit.name!r}. "
                f'Name one of them, e.g. "daily: {limit.scope} 10000/d".'
            )
        if of_role and not limit.shared:
            raise ConfigError(
                f"{label}: {limit.written!r} has no name. A role's limits are counted over all "
                f'routes: name it, e.g. "callers: {limit.written}".'
            )
        if limit.scope in _NEEDS_SIGN_IN and not signed_in:
            raise ConfigError(
                f"{label}: a public route has no {limit.scope} to count. Limit its address or route."
            )
    return limits


def check_shared(placed: Iterable[tuple[str, Limit]]) -> None:
    """Check that a name stands for one limit wherever it is written, else ConfigError.

    Each limit comes with its place. All that are counted together must come at once: routes' and
    roles' limits share their counts.
    """
    seen: dict[str, tuple[str, Limit]] = {}
    for place, limit in placed:
        if not limit.shared:
            continue
        before, other = seen.setdefault(limit.name, (place, limit))
        if other != limit:
            raise ConfigError(
                f"The limit {limit.name!r} is written in two ways: {other.written!r} in {before} "
                f"and {limit.written!r} in {place}. "
                "Write it the same way in both, or give one another name."
            )


def _limit(text: str, label: str) -> Limit:
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ConfigError(
            f"{label}: {text!r} is not a limit. Write [NAME:] SCOPE RATE/PERIOD [burst N] [closed]. "
            f"{EXAMPLE}."
        )
    if match["scope"] not in SCOPES:
        raise ConfigError(
            f"{label}: {text!r}: unknown scope {match['scope']!r}. Known are {', '.join(SCOPES)}."
        )
    if match["name"] in SCOPES:
        raise ConfigError(f"{label}: {text!r}: the name of a scope can't be a limit's name.")
    rate = int(match["rate"])
    seconds = int(match["periods"] or 1) * _SECONDS[match["period"]]
    burst = int(match["burst"] or rate)
    for what, value in (("rate", rate), ("burst", burst), ("period", seconds)):
        if not 0 < value <= (_LONGEST_S if what == "period" else _MOST):
            raise ConfigError(
                f"{label}: {text!r}: the {what} must be above 0 and at most "
                f"{'31 days' if what == 'period' else _MOST}."
            )
    limit = Limit(
        match["name"] or match["scope"],
        cast("Scope", match["scope"]),
        rate,
        seconds,
        burst,
        closed=match["closed"] is not None,
        shared=match["name"] is not None,
    )
    if burst * seconds > rate * _LONGEST_S:  # in whole numbers: a quotient may round up
        raise ConfigError(
            f"{label}: {text!r}: a spent burst takes {math.ceil(limit.tolerance / 86_400)} days to come back, "
            "more than 31. Lower the burst or raise the rate."
        )
    return limit


def subject_of(scope: Scope, principal: Principal | None, address: str) -> Subject:
    """Whom a request counts for in this scope: equal for requests that count together.

    A caller who is not known counts by address.
    """
    if scope == "route":
        return ""
    if scope == "address" or principal is None:
        return _network(address) if ":" in address else address
    if scope == "organisation":
        return principal.org_id
    if principal.kind in ("user", "key"):  # `user:<uuid>`: no two organisations share one
        return principal.subject
    return f"{principal.org_id}:{principal.subject}"


def key_of(rule: str, subject: Subject) -> str:
    """The key in Redis of a rule's subject, of bounded length whatever they hold."""
    key = f"limit:{rule}:{subject}"
    if len(key) <= _KEY_LENGTH and key.isascii():
        return key
    return "limit:#" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


@lru_cache(maxsize=10_000)
def _network(address: str) -> str:
    """What counts as one address: the /64 of an IPv6 address, as who has one has 2^64 of them."""
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
