"""Slips of the fingers, stretched words and what speech recognition hears."""

import pytest

from tests.ai_services.enrichment.analysis.kinds.judging import judge, unwanted

CASES = [
    ("this is horrrible", "negative"),
    ("terible experience", "negative"),
    ("aweful", "negative"),
    ("very dissapointing", "negative"),
    ("so frustating", "negative"),
    ("I am frustrted", "negative"),
    ("unaceptable", "negative"),
    ("ridiculus", "negative"),
    ("anoyed with this", "negative"),
    ("digusting", "negative"),
    ("incompetant staff", "negative"),
    ("baaaad", "negative"),
    ("slooooow and uselesss", "negative"),
    ("excelent", "positive"),
    ("excellant support", "positive"),
    ("amazzzing", "positive"),
    ("loooove it", "positive"),
    ("wonderfull", "positive"),
    ("fantasic", "positive"),
    ("greattt service", "positive"),
    ("I want to file a complant", "complaint high/medium"),
    ("cancel my subscripton", "churn high/medium"),
    ("我要投素你们", "complaint high/medium, negative/neutral"),
    ("我要透诉", "complaint high/medium"),
    ("头诉你们", "complaint high/medium"),
    ("我要偷诉你们公司", "complaint high/medium"),
    ("我要投訴妳們", "complaint high"),
    ("服务辣鸡", "negative"),
    ("sb客服", "negative"),
    ("tmd什么破网", "negative"),
    ("nmsl", "negative"),
]
SOUND = [
    "We are compliant with the rules",
    "my name is Terrence",
    "I work as a provider of cables",
    "Can I speak to Mr Greatorex",
    "I am in Goodwood",
    "the detective called about the projection",
    "please proceed with the premises",
    "what are the regulatory documents regarding shipping",
    "I paid with a sterling account",
    "我今晚投宿在酒店",
    "aaa battery, www dot example",
]


@pytest.mark.parametrize(("text", "wanted"), CASES)
def test_what_was_meant_is_heard(text: str, wanted: str) -> None:
    assert not unwanted(judge(text), wanted)


@pytest.mark.parametrize("text", SOUND)
def test_other_words_and_names_are_left_alone(text: str) -> None:
    assert not unwanted(judge(text), "neutral, complaint low, churn low")
