"""An agent's turns that let the customer down: a request that failed, wasn't understood, can't be met.

What the agent says is nobody's feeling. But who is told "I'm sorry, that did not work" again and again
is less content than their own polite words tell.
"""

from __future__ import annotations

import re
from typing import Final

_TOLD_BY: Final = ("n't", "n’t", "not ", "sorry", "unfortunately", "unable", "unsuccessful", "misunderst",
                   "抱歉", "对不起", "不好意思", "无法", "没法", "没办法", "失败", "没听", "听不", "办不", "查不", "没有查", "系统", "没有成功", "不成功")  # fmt: skip
_ENGLISH: Final = re.compile(
    r"\b(?:unfortunately|unable to|(?:was|were|is) unsuccessful|misunderst(?:ood|and)"
    r"|(?:i'm|i am|we're|we are) (?:very |so |really |terribly )?sorry"
    r"|(?:can(?:'t|not)|could(?:n't| not)|was(?:n't| not) able to) (?:find|do|help|book|update|change|process|locate|reach)"
    r"|(?:do(?:n't| not)|did(?:n't| not)) (?:quite |really )?(?:understand|catch|get) (?:that|what|you))"
)
_CHINESE: Final = re.compile(
    r"(?:抱歉|对不起|不好意思).{0,12}(?:没|不|无法|失败|没法)|无法(?:为您|帮您|办理|查询|处理|操作)"
    r"|(?:没|无)(?:办法|法)|(?:办理|预订|操作|提交|查询|修改|支付)(?:没有?成功|不成功|失败)"
    r"|没(?:有)?听(?:清|懂|明白)|听不(?:清|懂|明白)|(?:办|查|改|退|订)不(?:了|到)|系统.{0,6}(?:故障|出错|问题|不了)"
)


def lets_down(said: str) -> bool:
    """Whether a turn of the agent's says that what was asked for isn't to be had."""
    text = said.lower()
    if not any(word in text for word in _TOLD_BY):
        return False
    return bool(_ENGLISH.search(text.replace("’", "'")) or _CHINESE.search(text))
