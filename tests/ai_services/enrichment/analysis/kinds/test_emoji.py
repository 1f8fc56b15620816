"""Pictures: who smiles in Chinese is not pleased, and nothing negates a picture."""

import pytest

from tests.ai_services.enrichment.analysis.kinds.judging import judge, unwanted

CASES = [
    ("行🙂", "neutral/negative"),
    ("你们可真快🙂", "neutral/negative/positive"),
    ("好吧[微笑]", "neutral/negative"),
    ("哦🙂", "neutral/negative"),
    ("[微笑]", "neutral/negative"),
    ("无语🙂", "negative"),
    ("失望[微笑]", "negative"),
    ("退款还没到🙂", "negative/neutral"),
    ("😂又断网了", "negative"),
    ("太慢了😂😂", "negative"),
    ("這服務😂太差了", "negative"),
    ("还没到👎", "negative"),
    ("没收到😡", "negative"),
    ("not delivered 😡", "negative"),
    ("still not here 👎", "negative"),
    ("还没发货😡😡", "negative"),
    ("❌", "negative"),
    ("服务❌", "negative"),
    ("👍", "positive"),
    ("很满意👍", "positive"),
    ("谢谢😊", "positive"),
    ("thank you 🙂", "positive/neutral"),
    ("I love it 😂", "positive"),
    ("still waiting 😂", "negative"),
    ("great service 🙂", "positive"),
    ("不错👍", "positive"),
    ("没问题👍", "positive"),
    ("[强] 服务很好", "positive"),
    ("[怒]", "negative"),
]


@pytest.mark.parametrize(("text", "wanted"), CASES)
def test_pictures(text: str, wanted: str) -> None:
    assert not unwanted(judge(text), wanted)
