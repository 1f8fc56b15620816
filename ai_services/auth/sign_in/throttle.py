"""How long a sign-in has to wait after failures: pure arithmetic, per account and per address.

An attempt is charged before the password is looked at and refunded when it was right, so
that a hundred guesses at once count as a hundred. The price: whoever keeps guessing can keep an
account waiting, up to `cap_s` at a time; sessions that are open are not touched by it.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class ThrottlePolicy:
    """`free` failures cost nothing; then `base_s` of waiting, doubled each time up to `cap_s`.

    Failures are forgotten `forget_s` after the last one.
    """

    free: int
    base_s: float = 2.0
    cap_s: float = 900.0
    forget_s: float = 3600.0


# An office shares one address, so an address may fail more often than an account.
PER_ACCOUNT: Final = ThrottlePolicy(free=10)
PER_ADDRESS: Final = ThrottlePolicy(free=50)


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is known about one subject; times with offset."""

    failures: int
    last_failure: datetime
    blocked_until: datetime | None = None

    def wait(self, now: datetime) -> float:
        """Seconds until the next attempt is allowed; 0 when it is."""
        if self.blocked_until is None:
            return 0.0
        return max(0.0, (self.blocked_until - now).total_seconds())

    def charged(self, now: datetime, policy: ThrottlePolicy) -> Attempts:
        """These attempts and one more failure at `now`."""
        forgotten = now - self.last_failure > timedelta(seconds=policy.forget_s)
        failures = 1 if forgotten else self.failures + 1
        excess = failures - policy.free
        if excess < 0:
            return Attempts(failures, now)
        # 2**64 s is longer than any cap; without the bound the power would grow without one.
        seconds = min(policy.cap_s, policy.base_s * 2.0 ** min(excess, 64))
        return Attempts(failures, now, now + timedelta(seconds=seconds))


def account_subject(email: str) -> str:
    """The throttle's key of an account, whether it exists or not."""
    return f"account:{hashlib.sha256(email.encode('utf-8', 'surrogatepass')).hexdigest()}"


def address_subject(address: str) -> str | None:
    """The throttle's key of a client address; None for what is no IP address.

    An IPv6 client owns at least a /64, so that is what counts.
    """
    try:
        ip = ipaddress.ip_address(address.strip())
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        else:
            ip = ipaddress.ip_network((int(ip), 64), strict=False).network_address
    return f"address:{hashlib.sha256(str(ip).encode()).hexdigest()}"
