"""Guesses as the TOML of a column map, with what is unsure said beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from ai_services.enrichment.suggesting.guess import Guess, Guesses
from ai_services.enrichment.suggesting.statuses import roles
from ai_services.enrichment.suggesting.synonyms import SYNONYMS, plain
from ai_services.enrichment.suggesting.table import Table
from ai_services.enrichment.suggesting.values import AMBIGUOUS, Profile
from ai_services.enrichment.validation.record import REQUIRED
from ai_services.enrichment.validation.words import level_of
from shared.calls import CALL_STATUSES, INTENTION_LEVELS
from shared.phones import mask_written

_UNSURE = 0.6
_SHOWN_CHARS = 40
_MOST_WORDS = 15
_TEXTS = ("text", "content", "message", "utterance", "sentence", "msg", "内容", "文本")
_ROLES = ("role", "speaker", "sender", "side", "from", "who", "角色", "说话人")
_TIMES = (
    "atms",
    "start",
    "begin",
    "time",
    "offset",
    "starttime",
    "begintime",
    "t",
    "ts",
    "timestamp",
)


class MapWriter:
    """Writes one column map."""

    def __init__(self, table: Table, found: Guesses, timezone: str) -> None:
        self._table = table
        self._found = found
        self._timezone = timezone
        self._profiles = {name: Profile.of(table, name) for name in table.names}
        self._lines: list[str] = []

    def write(self) -> str:
        """The TOML; it loads as it is."""
        self._settings()
        self._columns()
        self._constants()
        self._statuses()
        self._sides()
        self._levels()
        self._turns()
        return "\n".join(self._lines).rstrip() + "\n"

    def _say(self, line: str, why: str = "") -> None:
        self._lines.append(f"{line}  # {_comment(why)}" if why else line)

    def _profile(self, field: str) -> Profile | None:
        one = self._found.fields.get(field)
        return None if one is None else self._profiles[one.column]

    def _settings(self) -> None:
        if self._table.encoding != "utf-8":
            why = "a guess" if self._table.guessed else "the file is not UTF-8"
            self._say(f"encoding = {_text(self._table.encoding)}", why)
        times = self._profile("started_at")
        if times is not None and times.time_formats:
            self._times(times)
        if self._found.unit is not None:
            self._say(f"duration_unit = {_text(self._found.unit)}", self._found.why_unit)
        nulls = sorted({one for profile in self._profiles.values() for one in profile.nulls})
        if nulls:
            self._say(f"null_values = {_texts(nulls)}", "cells that mean nothing")
        if self._found.group is not None:
            self._say(f"group_by = {_text(self._found.group.column)}", self._found.group.why)
            if self._found.leg_id is not None:
                self._say(f"leg_id = {_text(self._found.leg_id)}")
        if not self._table.header:
            self._say("# The file has no header line: these names are made up, in its order.")
            self._say(f"header = {_texts(self._table.names)}")
        self._ignored()

    def _times(self, times: Profile) -> None:
        form = times.time_formats[0]
        if not form.startswith("unix") and not times.has_offsets:
            self._say(f"timezone = {_text(self._timezone)}", "a guess: the times have no offset")
        other = AMBIGUOUS.get(form)
        unsure = ""
        if other in times.time_formats:
            unsure = f"day or month first? no day is past the 12th; the other is {other}"
        if form != "iso":
            self._say(f"time_format = {_text(form)}", unsure)

    def _ignored(self) -> None:
        used = {one.column for one in self._found.fields.values()}
        used |= {self._found.leg_id or "", self._found.group.column if self._found.group else ""}
        left = [name for name in self._table.names if name.strip() and name not in used]
        if left and self._table.header:
            self._say(f"ignore = {_texts(dict.fromkeys(left))}")

    def _columns(self) -> None:
        self._say("")
        self._say("[columns]")
        for field in SYNONYMS:
            if (one := self._found.fields.get(field)) is not None:
                self._say(f"{field} = {_text(one.column)}", self._doubt(field, one))
        for field in (*REQUIRED, "duration_ms"):
            if field not in self._found.fields and field != "user_id":
                self._say(f'# {field} = "?"  # no column looks like it: every call needs one')

    def _doubt(self, field: str, one: Guess) -> str:
        profile = self._profiles[one.column]
        doubts = []
        if one.confidence < _UNSURE:
            seen = ", ".join(_masked(cell) for cell in list(profile.distinct)[:3])
            doubts.append(f"unsure ({one.confidence:.0%}, by {one.why or 'elimination'}): {seen}")
        empty = profile.rows - len(profile.cells)
        if field in REQUIRED and empty:
            doubts.append(f"empty in {empty} of {profile.rows} rows, which would be rejected")
        return "; ".join(doubts)

    def _constants(self) -> None:
        if "user_id" not in self._found.fields:
            self._say("")
            self._say("[constants]")
            why = "no column looks like the account whose calls these are: name it"
            self._say('user_id = "team"', why)

    def _statuses(self) -> None:
        profile = self._profile("call_status")
        if profile is None:
            return
        known = profile.statuses
        entries = {w: s for w, s in known.items() if w.lower() not in CALL_STATUSES}
        unknown = [w for w in profile.distinct if w not in known]
        self._table_of("call_status", entries, unknown)

    def _sides(self) -> None:
        profile = self._profile("hangup_by")
        if profile is None:
            return
        entries = {word: side for word, side in profile.sides.items() if word not in ("1", "2")}
        unknown = [w for w in profile.distinct if w not in profile.sides]
        self._table_of("hangup_by", entries, unknown)

    def _levels(self) -> None:
        profile = self._profile("level_name")
        if profile is None:
            return
        entries = {
            cell: level
            for cell in profile.distinct
            if (level := level_of(cell)) and cell.upper() not in INTENTION_LEVELS
        }
        unknown = [w for w in profile.distinct if not level_of(w)]
        self._table_of("level_name", entries, unknown)

    def _table_of(self, field: str, entries: dict[str, str], unknown: Sequence[str]) -> None:
        if not entries and not unknown:
            return
        self._say("")
        self._say(f"[values.{field}]")
        for word, meaning in entries.items():
            self._say(f"{_text(word)} = {_text(meaning)}")
        for word in unknown[:_MOST_WORDS]:
            self._say(f'# {_text(_masked(word))} = "?"  # what does it mean?')

    def _turns(self) -> None:
        profile = self._profile("turns")
        if profile is None or not profile.transcripts:
            return
        turns = [turn for one in profile.transcripts for turn in one]
        keys = list(dict.fromkeys(key for turn in turns for key in turn))
        text, role = _named(keys, _TEXTS), _named(keys, _ROLES)
        if text is None or role is None:
            self._say(f"# [turns]: which of {_texts(keys)} are text, role and at_ms?")
            return
        spoken = {str(turn[role]) for turn in turns if role in turn}
        known = roles(sorted(spoken))
        self._table_of(
            "role",
            {word: said for word, said in known.items() if said not in ("", word)},
            sorted(spoken - set(known)),
        )
        at = _named(keys, _TIMES)
        if (role, text, at) == ("role", "text", "at_ms"):
            return
        self._say("")
        self._say("[turns]")
        self._say(f"role = {_text(role)}")
        self._say(f"text = {_text(text)}")
        if at is not None:
            self._say(f"at_ms = {_text(at)}")
            if _in_seconds([turn.get(at) for turn in turns]):
                self._say('time_unit = "s"', "a guess: the times are small or have decimals")


def _named(keys: Iterable[str], known: Sequence[str]) -> str | None:
    by_plain = {plain(key): key for key in keys}
    return next((by_plain[name] for name in known if name in by_plain), None)


def _in_seconds(times: Sequence[object]) -> bool:
    numbers = [one for one in times if isinstance(one, int | float) and not isinstance(one, bool)]
    return bool(numbers) and (max(numbers) < 1_000 or any(one % 1 for one in numbers))


def _masked(cell: str) -> str:
    shown = mask_written(cell)
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[: _SHOWN_CHARS - 1]}…"


def _comment(text: str) -> str:
    """What a comment in TOML may hold."""
    return "".join(one if one.isprintable() else " " for one in text)


def _text(value: str) -> str:
    """A TOML string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _texts(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"
