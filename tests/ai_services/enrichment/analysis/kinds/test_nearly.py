"""差点没气死 is as bad as 气死; 差点满意 is no satisfaction."""

import pytest

from tests.ai_services.enrichment.analysis.kinds.judging import judge, unwanted

CASES = [
    ("差点没把我急死", "negative"),
    ("差点没气疯", "negative"),
    ("险些没把我气死", "negative"),
    ("差一点没累死我", "negative"),
    ("差點沒把我氣死", "negative"),
    ("没把我气死就不错了", "negative/neutral"),
    ("我差点崩溃", "negative"),
    ("差点被你们逼疯", "negative"),
    ("就差没骂人了", "negative"),
    ("差点儿就满意了", "negative/neutral"),
    ("险些就成功了", "negative/neutral"),
    ("差一点就完美了", "negative/neutral"),
    ("差点就好评了", "negative/neutral"),
    ("差点就投诉你们了", "complaint low/medium"),
    ("差点就销户了", "churn low/medium"),
    ("I nearly lost my mind, this is terrible", "negative"),
    ("it was nearly good", "negative/neutral"),
    ("差两分钟九点", "neutral, complaint low"),
    ("还差三块钱", "neutral, complaint low"),
]


@pytest.mark.parametrize(("text", "wanted"), CASES)
def test_nearly(text: str, wanted: str) -> None:
    assert not unwanted(judge(text), wanted)
