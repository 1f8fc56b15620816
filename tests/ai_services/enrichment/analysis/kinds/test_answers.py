"""Yes and no take their meaning from the question, one's own or the agent's."""

import pytest

from tests.ai_services.enrichment.analysis.kinds.judging import judge, unwanted

OWN = [
    ("Do I like it? Not at all.", "negative"),
    ("Was it helpful? No.", "negative"),
    ("Am I happy? Absolutely not", "negative"),
    ("Is it reliable? Hardly.", "negative"),
    ("Would I recommend you? No way", "negative"),
    ("Was he polite? Not really", "negative"),
    ("Was the driver rude? No, not at all", "positive/neutral"),
    ("Was there any trouble? No", "positive/neutral"),
    ("Is it good? Yes!", "positive"),
    ("Do I want to cancel? No.", "churn low"),
    ("Do I want to cancel? Yes.", "churn high/medium"),
    ("好用吗？不", "negative"),
    ("满意吗？当然不", "negative"),
    ("方便吗？一点也不", "negative"),
    ("服务好吗？怎么可能", "negative"),
    ("喜欢吗？喜欢！", "positive"),
]
AGENT = [
    (("> 您是要投诉吗", "是的"), "complaint high/medium"),
    (("> 您好，请问您是要投诉我们的快递员吗？", "对"), "complaint high/medium"),
    (("> 您要投诉是吗", "嗯"), "complaint high/medium"),
    (("> 您是要投诉吗", "不是"), "complaint low"),
    (("> 您是要投诉吗？", "没有没有，我就问一下"), "complaint low"),
    (("> 您是要办理退订吗", "对"), "churn high/medium"),
    (("> 请问您是想注销账户吗？", "是的，谢谢"), "churn high/medium"),
    (("> 您是要销户吗", "不是"), "churn low"),
    (("> 您對我們的服務滿意嗎？", "不"), "negative"),
    (("> 您对这次服务满意吗", "不太满意"), "negative"),
    (("> 您对我们的服务满意吗？", "满意"), "positive"),
    (("> 您对我们的服务满意吗？", "嗯"), "positive"),
    (("> 问题解决了吗？", "没有"), "negative"),
    (("> 请问您的问题解决了吗", "还没"), "negative"),
    (("> are you calling to cancel?", "yes please"), "churn high/medium"),
    (("> Would you like to cancel your subscription?", "Yes"), "churn high/medium"),
    (("> Do you want to close your account?", "yeah"), "churn high/medium"),
    (("> Do you want to close your account?", "No, not at all"), "churn low"),
    (("> Do you want to make a complaint?", "Yes, I do"), "complaint high/medium"),
    (("> Would you like to file a complaint?", "no thanks"), "complaint low"),
    (("> Is the problem solved?", "No, still the same"), "negative"),
    (("> Was everything resolved to your satisfaction?", "No."), "negative"),
    (("> Are you satisfied with our service?", "not really"), "negative"),
    (("> Are you happy with the result?", "yes, very"), "positive"),
    (("> Is there anything else?", "no"), "neutral, complaint low, churn low"),
    (("> Are you interested in our new plan?", "no"), "neutral/negative, complaint low, churn low"),
    (("> 您对我们的新套餐感兴趣吗？", "不"), "neutral/negative, complaint low, churn low"),
    (("> 您好，请问是张先生吗？", "是的"), "neutral, complaint low, churn low"),
    (("> I am sorry for the terrible service.", "ok"), "neutral, complaint low, churn low"),
    (("> I can cancel it for you.", "no"), "churn low"),
    (("> 我们的服务非常好", "嗯"), "neutral, complaint low, churn low"),
]


@pytest.mark.parametrize(("text", "wanted"), OWN)
def test_own_question_and_answer(text: str, wanted: str) -> None:
    assert not unwanted(judge(text), wanted)


@pytest.mark.parametrize(("said", "wanted"), AGENT)
def test_answer_to_the_agent(said: tuple[str, ...], wanted: str) -> None:
    assert not unwanted(judge(*said), wanted)


def test_the_answer_is_what_is_quoted() -> None:
    verdict = judge("> 您好", "你好", "> 您是要投诉吗", "是的")
    assert [(quote.turn, quote.text) for quote in verdict.evidence] == [(3, "是的")]
