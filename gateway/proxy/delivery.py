"""The contract of a delivery: what is done with a service's answer once its head has come."""

from __future__ import annotations

from gateway.resilience.outcome import Outcome
from gateway.resilience.shedding import Slot
from gateway.upstream.attempts import Answered


class Delivery:
    """`first`, then `rest` unless `first` says that it was all.

    What they raise ends the exchange. `waited` are the seconds of `first` in which the service was
    waited for. A delivery that is `taken` has the exchange and its slot: whoever made it ends both.
    """

    def __init__(self) -> None:
        self.outcome = Outcome.SUCCESS  # of the try whose answer it is
        self.waited = 0.0
        self.taken = False
        self.slot: Slot | None = None

    async def first(self, answered: Answered) -> bool:
        """Deliver as much as there is to the first byte of an answer to the client."""
        raise NotImplementedError

    async def rest(self, answered: Answered) -> None:
        """Deliver what comes after `first`."""
        raise NotImplementedError
