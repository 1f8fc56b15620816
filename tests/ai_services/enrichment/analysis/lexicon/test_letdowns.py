"""An agent who has to say that it didn't work takes the shine off polite words, and no more."""

from __future__ import annotations

import pytest

from ai_services.enrichment.analysis.lexicon.letdowns import lets_down
from ai_services.enrichment.analysis.local import LocalAnalyzer, Turn

FAILED = [
    "I'm sorry, but your booking request failed.",
    "I am very sorry, there is no room left.",
    "Unfortunately I wasn't able to update your booking.",
    "I don’t quite understand what you mean.",
    "We couldn't find any rides.",
    "抱歉，这个订单查不到",
    "不好意思，系统目前办理不了",
    "这个我们没办法处理",
    "您的预订没有成功",
    "不好意思我没听清，您再说一遍",
]
FINE = [
    "Is there anything else that I can do for you?",
    "You needn't be sorry, it is no trouble.",
    "I can find you another one.",
    "已经为您办理好了",
    "请问还有什么可以帮您",
    "系统会给您发短信",
]


@pytest.mark.parametrize("said", FAILED)
def test_it_is_heard(said: str) -> None:
    assert lets_down(said)


@pytest.mark.parametrize("said", FINE)
def test_other_words_are_none(said: str) -> None:
    assert not lets_down(said)


def test_it_lowers_praise_and_makes_nobody_angry() -> None:
    analyzer = LocalAnalyzer()
    failed = Turn("agent", None, FAILED[0])

    def score(*said: str, failures: int) -> float:
        turns = [Turn("customer", None, text) for text in said]
        return analyzer.analyze_turns([*turns, *[failed] * failures]).sentiment_score

    assert score("great, thank you", failures=2) < score("great, thank you", failures=0)
    assert score("great, thank you", failures=9) == score("great, thank you", failures=2)
    neutral = [Turn("customer", None, "a table for two at seven"), *[failed] * 9]
    assert analyzer.analyze_turns(neutral).sentiment == "neutral"
