"""What switches and consoles call the outcome of a call and the level of an intention.

Only words that mean one thing everywhere: `canceled`, `unreachable`, 停机 or 未接通 may be several of
our statuses, and are left to a column map.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from typing import Final

import polars as pl

from shared.calls import CALL_STATUSES, INTENTION_LEVELS

# Compared without case, blanks, underscores and hyphens.
_STATUSES: Final[Mapping[str, str]] = {
    "connected": """answered answer connected completed callconnected callanswered normalanswer
        已接通 接通 已接听 接听 已应答 应答 已连接 通话成功 接通成功 呼叫成功 成功接通 已接 正常接听 正常接通
        已接通话 已接聽 接聽 已接電話 已通话""",
    "busy": """busy userbusy linebusy busyhere busyline 忙 忙线 占线 用户忙 用户正忙 正忙 忙音 线路忙
        对方忙 客户忙 占線 忙線 用戶忙 通话中 被叫忙 用户占线""",
    "no_answer": """noanswer notanswered unanswered noanswered noreply noresponse nouserresponse missed
        missedcall ringnoanswer ringingnoanswer rna didnotanswer unansweredcall 无人接听 未接听 未接 无应答 无人应答 未应答
        無人接聽 未接聽 久叫不应 振铃未接 响铃未接 无人接 未接来电 用户未接 客户未接 没人接""",
    "power_off": """poweroff poweredoff switchedoff switchoff phoneoff phoneswitchedoff turnedoff 关机 已关机
        用户关机 手机关机 對方關機 關機 用户已关机 被叫关机""",
    "invalid_number": """invalidnumber invalidnumberformat unallocatednumber unallocated numberinvalid
        notanumber numbernotexist nonexistentnumber numberdoesnotexist nosuchnumber disconnectednumber
        unassignednumber vacantnumber badnumber 空号 空號 号码不存在 无效号码 号码无效 号码错误 號碼不存在
        是空号 错误号码 号码有误 無效號碼""",
    "rejected": """rejected callrejected reject declined decline calldeclined refused rejectedbyuser
        拒接 拒绝 已拒接 已拒绝 用户拒接 客户拒接 拒接电话 拒絕 拒听 被拒接 用户拒绝 拒绝接听""",
    "failed": """failed failure fail error callfailed congestion chanunavail networkoutoforder
        失败 呼叫失败 外呼失败 拨打失败 线路故障 失敗 呼叫失敗 网络故障 系统错误""",
}  # fmt: skip
_STATUS_OF: Final = {word: status for status, words in _STATUSES.items() for word in words.split()}
_LINKS: Final = re.compile(r"[\s_\-./]+")
_NEGATED: Final = re.compile(r"not|no|non|un|dis|never|in(?=valid|complete)|未|无|無|没|沒|不")
_LEVEL: Final = re.compile(
    r"(?:意向|客户|客戶|等级|等級|级别|LEVEL|GRADE|CLASS|RANK|INTENTION)*[\s:：_\-]*([A-F])[\s_\-]*"
    r"(?:级|級|类|類|等|档|檔|LEVEL|GRADE|CLASS)?(?:意向|客户|客戶|用户|用戶)*(?:[(\[【].*[)\]】])?"
)
_CLOSE: Final = 0.8  # a slip or two of the pen


def status_of(text: str) -> str | None:
    """The status that a word means, ours in any case; None for one that may mean several, or none."""
    lower = text.strip().lower()
    return lower if lower in CALL_STATUSES else _STATUS_OF.get(_bare(text))


def level_of(text: str) -> str | None:
    """The letter of `b`, `B级` or `意向A`."""
    found = _LEVEL.fullmatch(unicodedata.normalize("NFKC", text).strip().upper())
    return None if found is None else found[1]


def statuses(cells: pl.Series) -> pl.Series:
    """Our words, for ours in any case and for what they are called elsewhere; others in lower case."""
    lower = cells.str.to_lowercase()
    odd = lower.filter(~lower.is_in(CALL_STATUSES)).unique().drop_nulls()
    known = {text: status for text in odd if (status := status_of(text))}
    return lower.replace(list(known), list(known.values())) if known else lower


def levels(cells: pl.Series) -> pl.Series:
    """The letters of `b`, `B级` or `意向A`; others in upper case."""
    upper = cells.str.to_uppercase()
    odd = upper.filter(~upper.is_in(INTENTION_LEVELS)).unique().drop_nulls()
    known = {text: level for text in odd if (level := level_of(text))}
    return upper.replace(list(known), list(known.values())) if known else upper


def likely_status(value: str) -> str | None:
    """The status that `value` is a slip of; none where one says what the other denies."""
    bare = _bare(value)
    near = difflib.get_close_matches(bare, _STATUS_OF, n=1, cutoff=_CLOSE)
    if not near or bool(_NEGATED.match(near[0])) != bool(_NEGATED.match(bare)):
        return None
    return _STATUS_OF[near[0]]


def _bare(text: str) -> str:
    return _LINKS.sub("", unicodedata.normalize("NFKC", text).casefold())
