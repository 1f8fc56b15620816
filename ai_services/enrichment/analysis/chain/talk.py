"""Who talked how much, and over whom, as far as the beginnings of turns tell.

A turn's end isn't known: how long it took is reckoned from its words, at the pace of usual speech,
and never beyond the begin of the same speaker's next turn or the end of the call. Shares of a call
are good to some percent, single interruptions are likely ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ai_services.enrichment.analysis.local import Turn

_HAN: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_MS_PER_HAN: Final = 220  # 4.5 characters a second
_MS_PER_CHARACTER: Final = 65  # 15 characters a second, blanks included: 150 words a minute
_SURELY_MS: Final = 700  # by so much somebody has to speak into another's turn


@dataclass(frozen=True, slots=True)
class Talk:
    """`talk_ratio` is the agent's share of the talking, `silence_ratio` that of silence in the call.

    None where the transcript has no times.
    """

    talk_ratio: float | None = None
    silence_ratio: float | None = None
    interruptions: int | None = None


def talk(turns: Sequence[Turn], duration_ms: int) -> Talk:
    """Of the turns that have a time; nothing is told of fewer than two."""
    timed = sorted(
        ((turn.at_ms, turn) for turn in turns if turn.at_ms is not None), key=lambda one: one[0]
    )
    if len(timed) < 2:
        return Talk()
    end = max(duration_ms, timed[-1][0])
    spoken = {"agent": 0, "customer": 0}
    busy = interruptions = 0
    heard_until = timed[0][0]
    for place, (at, turn) in enumerate(timed):
        later = timed[place + 1 :]
        own_next = next((start for start, one in later if one.role == turn.role), end)
        until = max(at, min(at + _length_ms(turn.text), own_next, end))
        spoken["agent" if turn.role == "agent" else "customer"] += until - at
        busy += max(0, until - max(at, heard_until))
        heard_until = max(heard_until, until)
        if later and later[0][1].role != turn.role and later[0][0] + _SURELY_MS < until:
            interruptions += 1
    talked = spoken["agent"] + spoken["customer"]
    length = end - timed[0][0]
    return Talk(
        round(spoken["agent"] / talked, 4) if talked else None,
        round(min(1.0, max(0.0, 1 - busy / length)), 4) if length else None,
        interruptions,
    )


def _length_ms(text: str) -> int:
    if text.isascii():
        return len(text) * _MS_PER_CHARACTER
    han = len(_HAN.findall(text))
    return han * _MS_PER_HAN + (len(text) - han) * _MS_PER_CHARACTER
