"""What the words of other systems mean: how calls ended, and who ended them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from shared.calls import CALL_STATUSES, CONNECTED, HANGUP_CUSTOMER, HANGUP_ROBOT

_STATUSES: Final[Mapping[str, tuple[str, ...]]] = {
    CONNECTED: (
        "answered", "answer", "connected", "completed", "complete", "success", "successful", "normal",
        "normal clearing", "ok", "sale", "human", "talked", "picked up", "接通", "已接通", "已接", "接听",
        "已接听", "通话成功", "成功", "呼叫成功", "正常", "正常结束", "是", "已应答", "应答", "人工接听",
        "通话", "已完成", "完成",
    ),
    "busy": (
        "busy", "user busy", "line busy", "忙线", "占线", "用户忙", "忙", "通话中", "正在通话中", "被叫忙",
        "遇忙",
    ),
    "no_answer": (
        "no answer", "noanswer", "na", "not answered", "unanswered", "missed", "cancel", "canceled",
        "cancelled", "originator cancel", "abandoned", "abandon", "timeout", "no user response",
        "voicemail", "not connected", "未接", "未接通", "未接听", "无人接听", "无应答", "呼叫超时", "超时未接",
        "否", "无人应答", "未应答", "用户未接", "主叫取消", "取消", "放弃",
    ),
    "power_off": ("power off", "powered off", "switched off", "关机", "已关机", "不在服务区", "无法接通"),
    "invalid_number": (
        "invalid number", "invalid", "unallocated number", "disconnected number", "dc", "wrong number",
        "does not exist", "空号", "号码不存在", "停机", "号码错误", "错号", "无效号码", "空号停机",
    ),
    "rejected": (
        "rejected", "reject", "declined", "call rejected", "refused", "拒接", "拒绝", "用户拒接", "拒接挂断",
        "挂断未接", "黑名单",
    ),
    "failed": (
        "failed", "fail", "failure", "error", "congestion", "chanunavail", "network error", "dropped",
        "drop", "失败", "呼叫失败", "外呼失败", "线路故障", "线路异常", "异常", "系统异常", "网络异常", "欠费",
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
ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "agent": (
        "agent", "robot", "bot", "assistant", "seat", "ai", "system", "staff", "service", "机器人",
        "坐席", "座席", "客服", "机器", "0",
    ),
    "customer": ("customer", "user", "client", "caller", "human", "客户", "用户", "1"),
}  # fmt: skip


def _plain(word: str) -> str:
    return re.sub(r"[\s_\-]+", " ", word.strip()).casefold()


def _looked_up(meanings: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {_plain(word): meaning for meaning, words in meanings.items() for word in words}


_STATUS: Final = _looked_up(_STATUSES) | {_plain(one): one for one in CALL_STATUSES}
_SIDE: Final = _looked_up(_SIDES)
_ROLE: Final = _looked_up(ROLES)


def statuses(words: Iterable[str]) -> dict[str, str]:
    """Those of the words that are known → the status that they mean."""
    return _known(words, _STATUS)


def sides(words: Iterable[str]) -> dict[str, str]:
    """Those that are known → "1" or "2"."""
    return _known(words, _SIDE)


def roles(words: Iterable[str]) -> dict[str, str]:
    """Those that are known → the role in a transcript."""
    return _known(words, _ROLE)


def _known(words: Iterable[str], meanings: Mapping[str, str]) -> dict[str, str]:
    return {word: meanings[_plain(word)] for word in words if _plain(word) in meanings}
