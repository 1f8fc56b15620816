"""What the words of other systems mean: how calls ended, and who ended them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ai_services.enrichment.reading.roles import AGENT, CUSTOMER, side_of
from ai_services.enrichment.validation.words import status_of
from shared.calls import CONNECTED, HANGUP_CUSTOMER, HANGUP_ROBOT

# Beside those that the readers know (validation/words.py): what is likeliest of words that may mean
# several. A map is looked through before it is used.
_STATUSES: Final[Mapping[str, tuple[str, ...]]] = {
    CONNECTED: (
        "complete", "success", "successful", "normal", "normal clearing", "ok", "sale", "human", "talked",
        "picked up", "成功", "正常", "正常结束", "是", "人工接听", "通话", "已完成", "完成",
    ),
    "busy": ("正在通话中", "遇忙"),
    "no_answer": (
        "na", "cancel", "canceled", "cancelled", "originator cancel", "abandoned", "abandon", "timeout",
        "voicemail", "not connected", "未接通", "呼叫超时", "超时未接", "否", "主叫取消", "取消", "放弃",
    ),
    "power_off": ("不在服务区", "无法接通"),
    "invalid_number": (
        "invalid", "dc", "wrong number", "does not exist", "停机", "错号", "空号停机",
    ),
    "rejected": ("拒接挂断", "挂断未接", "黑名单"),
    "failed": (
        "network error", "dropped", "drop", "线路异常", "异常", "系统异常", "网络异常", "欠费",
    ),
}  # fmt: skip
_SIDES: Final[Mapping[str, tuple[str, ...]]] = {
    str(HANGUP_ROBOT): (
        "1", "robot", "agent", "seat", "system", "bot", "ai", "server", "user agent", "机器人", "坐席",
        "座席", "客服", "系统", "主叫", "机器", "平台", "主叫挂断", "坐席挂断", "机器人挂断", "系统挂断",
    ),
    str(HANGUP_CUSTOMER): (
        "2", "customer", "caller", "client", "user", "callee", "客户", "用户", "被叫", "对方", "用户挂断",
        "客户挂断", "被叫挂断",
    ),
}  # fmt: skip
# Beside those of reading/roles.py.
_ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    AGENT: ("seat", "service", "机器", "0"),
    CUSTOMER: ("caller", "1"),
}


def _plain(word: str) -> str:
    return re.sub(r"[\s_\-]+", " ", word.strip()).casefold()


def _looked_up(meanings: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {_plain(word): meaning for meaning, words in meanings.items() for word in words}


_STATUS: Final = _looked_up(_STATUSES)
_SIDE: Final = _looked_up(_SIDES)
_ROLE: Final = _looked_up(_ROLES)


def statuses(words: Iterable[str]) -> dict[str, str]:
    """Those of the words that are known → the status that they mean."""
    return _known(words, lambda word: status_of(word) or _STATUS.get(_plain(word)))


def sides(words: Iterable[str]) -> dict[str, str]:
    """Those that are known → "1" or "2"."""
    return _known(words, lambda word: _SIDE.get(_plain(word)))


def roles(words: Iterable[str]) -> dict[str, str]:
    """Those that are known → the role in a transcript, or "" for what is neither side."""
    return _known(words, _role)


def _role(word: str) -> str | None:
    known = side_of(word, {})
    return _ROLE.get(_plain(word)) if known is None else known


def _known(words: Iterable[str], meaning: Callable[[str], str | None]) -> dict[str, str]:
    return {word: found for word in words if (found := meaning(word)) is not None}
