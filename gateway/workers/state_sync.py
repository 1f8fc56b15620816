"""State sync between the workers of one port: the circuits, ejections and health of instances.

A worker whose breaker or ejection changes tells all others at once, and everybody repeats all that
is known every second, so that a lost message delays and a late starter learns. No request waits.

Each fact is a `Mark`: a turn, and until when. Whoever changes it takes the next turn; of two marks
the greater holds everywhere, whatever the order in which they come, and however often. Of two that
were made at once, so of the same turn, the open one holds, or the one that ends later. All that is
passed on ends by time: `until` is a moment of the system's monotonic clock, which all processes of
a machine share.

    open       in one: open in all, until the same moment
    half-open  each worker admits its share of the probes (one at least) by itself; answered ones
               are counted together, so that nobody waits for anybody and none can be missed
    closed     by the count of all, or as one instance comes back: closed in all

Active checks are made by one worker only, the one with the lowest number that was heard lately:
they go to `/ready`, which costs a service something. It repeats every second who is ill; when it
falls silent the next one goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import orjson
import structlog

from gateway.upstream.member import Member
from gateway.upstream.pool import Pool, Pools

EVERY_S: Final = 1.0
SILENT_S: Final = 3.0  # a worker that was not heard for so long has no say in who makes checks
log = structlog.get_logger()

Key = tuple[str, str, str]  # of an instance: its service, address and identity


class Mark(NamedTuple):
    """The greater one holds. `until` 0: closed, not ejected. `times` in a row."""

    turn: int = 0
    until: float = 0.0
    times: int = 0


NO_MARK: Final = Mark()


class Row(NamedTuple):
    """What a worker says of one instance."""

    instance: Key
    circuit: Mark
    unanswered: bool  # it opened for want of answers: a good check closes it
    passed: int  # probes of this turn that the speaker saw answered
    ejection: Mark
    gone: bool  # it could not be connected to the last time

    def written(self) -> list[Any]:
        return [
            *self.instance,
            *self.circuit,
            self.unanswered,
            self.passed,
            *self.ejection,
            self.gone,
        ]

    @classmethod
    def read(cls, row: Any) -> Row:
        """ValueError, TypeError or OverflowError for what no worker of this version writes."""
        service, url, name, turn, until, times, mute, passed, out, out_until, out_times, gone = row
        return cls(
            (str(service), str(url), str(name)),
            Mark(int(turn), float(until), int(times)),
            bool(mute),
            int(passed),
            Mark(int(out), float(out_until), int(out_times)),
            bool(gone),
        )


class _Known:
    """What this worker knows of one instance; everybody's, once all messages have come."""

    __slots__ = ("circuit", "ejection", "passed")

    def __init__(self) -> None:
        self.circuit = NO_MARK
        self.ejection = NO_MARK
        self.passed: dict[int, int] = {}  # answered probes of the circuit's turn, by worker

    @property
    def nothing(self) -> bool:
        return not self.circuit.turn and not self.ejection.turn


class StateSync:
    """One worker's part. `tell` is given a message, and for whom: None is everybody."""

    def __init__(
        self,
        number: int,
        pools: Pools,
        tell: Callable[[bytes, int | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._number = number
        self._pools = pools
        self._tell = tell
        self._clock = clock
        self._began = clock()
        self._informed = False
        self._known: dict[Key, _Known] = {}
        self._able_at: dict[int, float] = {}  # when others said that they can make checks

    @property
    def informed(self) -> bool:
        """Whether one who makes checks has told what is known."""
        return self._informed

    @property
    def able(self) -> bool:
        """Whether this worker may make the checks: it knows who is ill, or nobody would tell."""
        return self._informed or self._clock() - self._began >= SILENT_S

    @property
    def checks(self) -> bool:
        """Whether it is this worker that makes the active checks now."""
        return self.able and self._checker() == self._number

    def noticed(self, pool: Pool, member: Member) -> None:
        """Something has changed here: tell the others if it concerns them."""
        instance = _key(pool, member)
        known = self._known.setdefault(instance, _Known())
        changed = self._note(known, pool, member)
        if changed or self.checks:
            self._say([(instance, known, member)] if changed else [], None)

    def repeat(self, to: int | None = None) -> None:
        """Say everything that is known, and forget instances that are gone."""
        there = self._instances()
        self._known = {one: known for one, known in self._known.items() if one in there}
        rows: list[tuple[Key, _Known, Member]] = []
        for instance, known in self._known.items():
            pool, member = there[instance]
            self._note(known, pool, member)
            if not known.nothing:
                rows.append((instance, known, member))
        self._say(rows, to)

    def greet(self, newcomer: int) -> None:
        """Tell one that has just started; whatever its predecessor knew, it doesn't."""
        self._able_at.pop(newcomer, None)
        self.repeat(to=newcomer)

    def hear(self, sender: int, message: bytes) -> None:
        """Take over what another worker said; a message that can't be read changes nothing."""
        try:
            said = orjson.loads(message)
            rows = [Row.read(one) for one in said["rows"]]
            able, ill = bool(said["able"]), said["ill"]
            sick = None if ill is None else {(str(a), str(b), str(c)) for a, b, c in ill}
        except (ValueError, TypeError, KeyError, OverflowError):
            log.warning("a worker's message can't be read", worker=sender)
            return
        ignorant = not self.able
        if able:
            self._able_at[sender] = self._clock()
        else:
            self._able_at.pop(sender, None)
        there = self._instances() if rows or sick is not None else {}
        for row in rows:
            found = there.get(row.instance)
            if found is not None:
                self._follow(sender, row, *found)
        if sick is not None and (ignorant or sender == self._checker()):
            self._informed = True
            for instance, (pool, member) in there.items():
                pool.follow_health(member, healthy=instance not in sick)

    def _checker(self) -> int:
        since = self._clock() - SILENT_S
        able = [one for one, at in self._able_at.items() if at > since]
        return min([*able, self._number] if self.able else able, default=self._number)

    def _note(self, known: _Known, pool: Pool, member: Member) -> bool:
        """Bring what is known up to date with this worker's own state; whether that was news."""
        until, opened, passed = member.breaker.told()
        changed = False
        if (until, opened) != (known.circuit.until, known.circuit.times):
            known.circuit = Mark(known.circuit.turn + 1, until, opened)
            known.passed = {}
            changed = True
        if passed > known.passed.get(self._number, 0):
            known.passed[self._number] = passed
            changed = True
        out_until, out_times = pool.ejection(member)
        if out_until != known.ejection.until:
            known.ejection = Mark(known.ejection.turn + 1, out_until, out_times)
            changed = True
        return changed

    def _follow(self, sender: int, row: Row, pool: Pool, member: Member) -> None:
        known = self._known.setdefault(row.instance, _Known())
        if row.circuit > known.circuit:
            known.circuit = row.circuit
            known.passed = {sender: row.passed}
            pool.follow_circuit(
                member,
                row.circuit.until,
                row.circuit.times,
                unanswered=row.unanswered,
                gone=row.gone,
            )
        elif row.circuit == known.circuit:
            known.passed[sender] = max(row.passed, known.passed.get(sender, 0))
        if row.ejection > known.ejection:
            known.ejection = row.ejection
            pool.follow_ejection(member, row.ejection.until, row.ejection.times, gone=row.gone)
        others = sum(count for one, count in known.passed.items() if one != self._number)
        member.breaker.credit(others)
        if self._note(known, pool, member):  # that made it close
            self._say([(row.instance, known, member)], None)

    def _say(self, rows: Iterable[tuple[Key, _Known, Member]], to: int | None) -> None:
        said = [
            Row(
                instance,
                known.circuit,
                member.breaker.unanswered,
                known.passed.get(self._number, 0),
                known.ejection,
                member.instance.unreachable,
            ).written()
            for instance, known, member in rows
        ]
        ill: list[Key] | None = None
        if self.checks:
            there = self._instances()
            ill = [one for one, (pool, member) in there.items() if not pool.healthy(member)]
        self._tell(orjson.dumps({"rows": said, "able": self.able, "ill": ill}), to)

    def _instances(self) -> dict[Key, tuple[Pool, Member]]:
        return {
            _key(pool, one): (pool, one) for pool in self._pools.all() for one in pool.members()
        }


def _key(pool: Pool, member: Member) -> Key:
    return pool.service, member.url, member.name
