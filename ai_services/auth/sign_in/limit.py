"""Charging sign-in attempts to an account and to an address, before the password is looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ai_services.auth.sign_in import store
from ai_services.auth.sign_in.throttle import (
    PER_ACCOUNT,
    PER_ADDRESS,
    ThrottlePolicy,
    account_subject,
    address_subject,
)
from shared.data_access.ports import Transaction
from shared.errors import TooManyRequests


@dataclass(frozen=True, slots=True)
class Charge:
    """One attempt: whose account, and from which address if that is known."""

    account: str
    address: str | None

    @classmethod
    def of(cls, email: str, address: str) -> Charge:
        return cls(account_subject(email), address_subject(address))


@dataclass(frozen=True, slots=True)
class SignInLimit:
    per_account: ThrottlePolicy = PER_ACCOUNT
    per_address: ThrottlePolicy = PER_ADDRESS

    @property
    def forget_s(self) -> float:
        return max(self.per_account.forget_s, self.per_address.forget_s)

    async def charge(self, tx: Transaction, charge: Charge, now: datetime) -> None:
        """Count the attempt as failed; raises TooManyRequests, counting nothing, if it is too early.

        `tx` is a system transaction, here and below.
        """
        policies = self._policies(charge)
        attempts = await store.lock(tx, list(policies), now)
        wait = max(known.wait(now) for known in attempts.values())
        if wait > 0:
            raise TooManyRequests(
                f"Too many failed sign-ins. Try again in {math.ceil(wait)} s.",
                retry_after=math.ceil(wait),
            )
        await store.save(
            tx, {subject: attempts[subject].charged(now, policies[subject]) for subject in policies}
        )

    async def refund(self, tx: Transaction, charge: Charge) -> None:
        """Take the charge back: the attempt was never judged."""
        for subject in self._policies(charge):
            await store.refund(tx, subject)

    async def succeed(self, tx: Transaction, charge: Charge) -> None:
        """Clear the account. Of the address only this attempt is taken back, so that somebody with
        one account of their own can't wash off what they tried on others.
        """
        await store.forget(tx, charge.account)
        if charge.address is not None:
            await store.refund(tx, charge.address)

    def _policies(self, charge: Charge) -> Mapping[str, ThrottlePolicy]:
        policies = {charge.account: self.per_account}
        if charge.address is not None:
            policies[charge.address] = self.per_address
        return policies
