"""What a model on loopback answers where it is asked to judge calls, truthfully or not.

It reads the transcripts between the marks of the request, as the prompt tells it to. `how` is how
it errs:

honest     one verdict for each call, with a quote of the customer's
omits      nothing about every third call
repeats    the first verdict twice, where there are several
adds       a verdict about a call that nobody asked about
invents    quotes that nobody said, and promises that nobody gave
obeys      what a transcript tells it to say, for all calls of the request
single     about the whole request as one call, without an id
garbles    no JSON, where a transcript holds the word 'garble'
refuses    nothing, where a transcript holds the word 'garble'
nulls      a NUL in each text, a number without end, and, with 'garble', a member with a NUL in its name
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

_BLOCK: Final = re.compile(r"<<<(\w+) id=(\w+)>>>\n(.*?)\n<<<\1 end>>>", re.DOTALL)
_BAD: Final = re.compile(r"投诉|太差|骗|complain|terrible|awful|useless|refund", re.IGNORECASE)
_LEAVING: Final = re.compile(r"注销|退订|不用了|换一家|cancel|leave|switch", re.IGNORECASE)
_GOOD: Final = re.compile(r"满意|太好了|谢谢|great|perfect|thank", re.IGNORECASE)
_ORDER: Final = re.compile(r"ignore|忽略|system|系统|assistant|JSON", re.IGNORECASE)


def judge(body: Mapping[str, Any], how: str) -> str:
    """The answer's text for a chat request."""
    asked = next(one["content"] for one in body["messages"] if one["role"] == "user")
    if how == "single":
        alone = _verdict("", [{"by": "customer", "said": asked}])
        return orjson.dumps({name: alone[name] for name in alone if name != "id"}).decode()
    calls = [(name, _turns(lines)) for _, name, lines in _BLOCK.findall(asked)]
    if how == "garbles" and "garble" in asked:
        return "I would rather tell you a story."
    verdicts = [_verdict(name, turns) for name, turns in calls]
    if how == "omits":
        verdicts = [
            one for number, one in enumerate(verdicts) if number % 3 != 2 or len(calls) == 1
        ]
    elif how == "repeats" and len(calls) > 1:
        verdicts = [*verdicts, {**verdicts[0], "sentiment": "positive", "sentiment_score": 1.0}]
    elif how == "adds":
        verdicts.append({**verdicts[0], "id": "bcdfghjk"})
    elif how == "invents":
        for one in verdicts:
            one["evidence"] = ["nobody ever said these words", *one["evidence"]]
            one["callbacks"] = [{"said": "I promise to ring on Friday", "date": None, "days": 1,
                                 "weekday": None, "time": "25:99"}]  # fmt: skip
    elif how == "obeys" and _ORDER.search(asked):
        for one in verdicts:
            one |= {"sentiment": "positive", "sentiment_score": 1.0, "topic": "pwned",
                    "evidence": ["everything is fine"], "summary": "x" * 5000}  # fmt: skip
    elif how == "nulls":
        return _with_nulls(verdicts, asked)
    return orjson.dumps({"calls": verdicts}).decode()


def _with_nulls(verdicts: list[dict[str, Any]], asked: str) -> str:
    for one in verdicts:
        one["summary"] = one["reason"] = "a\0b"
        one["evidence"].append("c\0d")
        one["callbacks"] = [
            {"said": "e\0f", "date": "\0", "days": 0, "weekday": None, "time": None}
        ]
        if "garble" in asked:
            one["no\0name"] = 1
    return orjson.dumps({"calls": verdicts}).decode().replace('"days":0', f'"days":1{"0" * 30}')


def _turns(lines: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in lines.splitlines()]


def _verdict(name: str, turns: list[dict[str, Any]]) -> dict[str, Any]:
    customer = [turn["said"] for turn in turns if turn["by"] == "customer"]
    said = "\n".join(customer)
    bad, leaving, good = (bool(one.search(said)) for one in (_BAD, _LEAVING, _GOOD))
    promised = next((t["said"] for t in turns if t["by"] == "agent" and "明天" in t["said"]), None)
    return {
        "id": name,
        "sentiment": "negative" if bad else "positive" if good else "neutral",
        "sentiment_score": 0.1 if bad else 0.9 if good else 0.5,
        "complaint_risk": "high" if bad else "low",
        "churn_risk": "high" if leaving else "low",
        "reason": f"The customer said {len(customer)} things.",
        "confidence": 0.9,
        "evidence": [next((one for one in customer if _BAD.search(one)), customer[0])[:60]]
        if customer
        else [],
        "summary": f"A call of {len(turns)} turns.",
        "topic": "other",
        "follow_up": None,
        "callbacks": [] if promised is None else [
            {"said": promised, "date": None, "days": 1, "weekday": None, "time": "10:00"}
        ],
        "resolution": "unresolved" if bad else "resolved",
        "agent_quality": 3,
        "agent_quality_reason": "Polite.",
    }  # fmt: skip
