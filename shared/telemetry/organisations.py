"""Which organisations have series of their own in metrics."""

from __future__ import annotations

from uuid import UUID

from shared.telemetry.labels import OTHER


class OrganisationLabels:
    """Which organisations have series of their own: there may be any number of organisations, and no
    metric may have any number of series.

    `places` of them have; all others share `OTHER`. A place is earned: the more are taken, the more
    it has to be asked for, so that those who are busy get them, whoever comes first. It is kept
    until the process ends, so that no count ever sinks. Those that wait are counted by
    Misra and Gries (1982): of all of them together no more than ten times `places` are remembered.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._placed: dict[int, str] = {}
        self._waiting: dict[int, int] = {}

    def of(self, org_id: UUID) -> str:
        """The label of what is to be counted of an organisation now."""
        label = self._placed.get(org_id.int)  # whose hash costs less than that of a UUID
        if label is None:
            label = self._earned(org_id) if len(self._placed) < self._places else OTHER
        return label

    def _earned(self, org_id: UUID) -> str:
        waiting, key = self._waiting, org_id.int
        asked = waiting.get(key, 0) + 1
        if asked > len(self._placed):
            waiting.pop(key, None)
            self._placed[key] = label = str(org_id)
            if len(self._placed) == self._places:
                waiting.clear()
            return label
        waiting[key] = asked
        if len(waiting) > 10 * self._places:
            self._waiting = {one: times - 1 for one, times in waiting.items() if times > 1}
        return OTHER
