"""Transcripts that say nothing of a customer: no model is asked about them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ai_services.enrichment.analysis.chain.transcript import Said

# What machines say in the customer's place: mailboxes, networks, assistants that screen calls.
_MACHINE: Final = re.compile(
    r"提示音后留言|嘀声后|哔声后|语音信箱|语音留言|留言请按|您(?:所)?拨打的(?:电话|号码|用户)"
    r"|电话(?:已关机|正在通话中|暂时无法接通)|来电助理|呼入限制|请稍后再拨"
    r"|voice\s?mail(?:box)?|after the (?:tone|beep)|leave (?:a|your) message"
    r"|(?:is|are) (?:not available|unavailable) (?:to take|right now|at the moment)"
    r"|the (?:number|person|subscriber) you (?:have )?(?:dialed|dialled|called|are calling)"
    r"|call assist|stay on the line (?:and|while)",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"\w")


def is_trivial(said: Sequence[Said], shortest: int) -> bool:
    """Whether nobody is heard, too little, or a machine at the begin and no person behind it."""
    customer = [one.text for one in said if one.role == "customer"]
    if sum(len(_WORD.findall(text)) for text in customer) < shortest:
        return True
    heard = [text for text in customer if not _MACHINE.search(text)]
    return len(heard) < len(customer) and len(customer) <= 3 and len(heard) <= 1
