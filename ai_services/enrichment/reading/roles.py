"""Who speaks in a transcript, by the names that other systems have for the two sides."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

CUSTOMER: Final = "customer"
AGENT: Final = "agent"
NOBODY: Final = ""  # neither side: announcements, music, marks of the system

_NAMES: Final[Mapping[str, str]] = {
    CUSTOMER: """customer client user human consumer guest buyer patient lead prospect kunde cliente
        客户 客戶 顾客 顧客 用户 用戶 消费者 被访者 客人 顾客方 客户方 お客様 顧客様 고객""",
    AGENT: """agent bot robot assistant ai operator representative rep advisor adviser csr salesperson
        sales seller staff employee chatbot voicebot callbot virtualagent supportagent support
        客服 坐席 座席 机器人 機器人 话务员 話務員 销售 銷售 业务员 業務員 员工 員工 人工客服 人工坐席 客服人员 客服代表
        智能客服 智能机器人 语音机器人 外呼机器人 坐席员 接线员 营销员 经纪人 顾问 专员 客服专员 客服方 坐席方 ai客服
        ai坐席 ai机器人 オペレーター 상담원""",
    NOBODY: """system ivr music prompt announcement queue recording narrator event tool note notice
        voicemail hold silence noise background dtmf
        系统 系統 系统提示 系统消息 旁白 提示音 背景音 背景音乐 语音提示 静音 彩铃 事件 备注""",
}
_SIDE_OF: Final = {name: side for side, names in _NAMES.items() for name in names.split()}
_PARTED: Final = str.maketrans("", "", " _-")
_MARKS: Final = " _-#"
_BEFORE_WHICH: Final = f"{_MARKS}:"
_OPENING: Final = re.compile(r"[(\[【<]")
_CLOSING: Final = (")", "]", "】", ">")
_LONGEST: Final = 100  # characters of a name
# For a pattern that finds them in a text; the longest first, which otherwise are cut short.
NAMES: Final = "|".join(map(re.escape, sorted(_SIDE_OF, key=len, reverse=True)))


def side_of(role: str, mapped: Mapping[str, str]) -> str | None:
    """customer, agent, or "" for neither; None for a name that isn't known.

    `mapped` is a column map's [values.role]: it comes first, in any case, `*` is for all others.
    """
    if role in mapped:
        return mapped[role]
    if len(role) > _LONGEST:
        return mapped.get("*")
    bare = _folded(role)
    for name, side in mapped.items():
        if name != "*" and _folded(name) == bare:
            return side
    if bare not in (CUSTOMER, AGENT) and "*" in mapped:
        return mapped["*"]
    known = _SIDE_OF.get(bare.translate(_PARTED))
    return _SIDE_OF.get(_without_which(bare).translate(_PARTED)) if known is None else known


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).split()).casefold()


def _without_which(name: str) -> str:
    """Without what tells several of one side apart: 客服1, 坐席008(小王), Agent #12."""
    name = name.rstrip(_MARKS)
    if name.endswith(_CLOSING) and (opening := _OPENING.search(name)):
        name = name[: opening.start()].rstrip()
    return name.rstrip("0123456789").rstrip(_BEFORE_WHICH)
