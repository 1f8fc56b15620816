"""Answers by a schema, validated and repaired once."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from shared.errors import AnswerInvalid, NoModel
from shared.llm.client import LanguageModels
from shared.llm.structured import Structured, structured
from shared.security import Principal
from tests.shared.llm.models import Models, said

AGENT = Principal(UUID(int=1), "user:1", "agent", "user")
HELLO = [{"role": "user", "content": "你好"}]


class Topic(BaseModel):
    name: str
    weight: float = Field(1.0, ge=0, le=1)


class Summary(BaseModel):
    mood: Literal["good", "bad"]
    topics: list[Topic] = []


GOOD = '{"mood": "good", "topics": [{"name": "价格", "weight": 0.5}]}'


async def ask(asking: LanguageModels) -> Structured[Summary]:
    client = asking.asked_by(AGENT, "summary")
    return await structured(client, Summary, model="fast", messages=HELLO, max_tokens=99)


async def test_an_answer_that_fits_is_a_value(asking: LanguageModels, models: Models) -> None:
    models.answers.append(said(GOOD))
    answer = await ask(asking)
    assert answer.value == Summary(mood="good", topics=[Topic(name="价格", weight=0.5)])
    assert (answer.model, answer.is_repaired) == ("m", False)
    (asked,) = models.asked
    assert (asked["model"], asked["messages"], asked["max_tokens"]) == ("fast", HELLO, 99)


async def test_a_schema_is_asked_for_strictly(asking: LanguageModels, models: Models) -> None:
    models.answers.append(said(GOOD))
    await ask(asking)
    wanted = models.asked[0]["response_format"]
    assert wanted["type"] == "json_schema"
    assert (wanted["json_schema"]["name"], wanted["json_schema"]["strict"]) == ("Summary", True)
    schema = wanted["json_schema"]["schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["mood", "topics"], False)
    topic = schema["$defs"]["Topic"]
    assert (topic["required"], topic["additionalProperties"]) == (["name", "weight"], False)
    assert "default" not in topic["properties"]["weight"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('{"mood": "fine"}', "- mood: Input should be 'good' or 'bad'"),
        ('{"topics": [{"name": "x", "weight": 2}], "mood": "bad"}', "- topics.0.weight: Input"),
        ("{}", "- mood: Field required"),
        ("Sure! Here it is:", "- answer: Invalid JSON"),
        (None, "- answer: Invalid JSON"),
    ],
)
async def test_a_wrong_one_is_repaired_once(asking, models: Models, wrong, told) -> None:
    models.answers += [said(wrong), said(GOOD)]
    answer = await ask(asking)
    assert answer.is_repaired
    assert answer.value.mood == "good"
    first, said_before, repair = models.asked[1]["messages"]
    assert first == HELLO[0]
    assert said_before == {"role": "assistant", "content": wrong or ""}
    assert repair["role"] == "user"
    assert told in repair["content"]


async def test_what_stays_wrong_is_a_failure_that_says_why(asking, models: Models) -> None:
    models.answers += [said("{}"), said('{"mood": "fine"}')]
    with pytest.raises(AnswerInvalid, match=r"'fast' .* Summary, twice: mood: Input") as caught:
        await ask(asking)
    assert [detail.field for detail in caught.value.details] == ["mood"]
    assert len(models.asked) == 2


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (said(None, refusal="I can't."), "refuses to answer: I can't"),
        (said('{"mood": "go', "length"), "cut off at its longest"),
        (said(GOOD, "content_filter"), "by a content filter"),
    ],
)
async def test_what_no_repair_helps_is_not_repaired(asking, models: Models, answer, why) -> None:
    models.answers.append(answer)
    with pytest.raises(AnswerInvalid, match=why):
        await ask(asking)
    assert len(models.asked) == 1


async def test_failures_of_the_service_are_ours(asking: LanguageModels, models: Models) -> None:
    models.answers.append((503, {"message": "no provider", "code": "no_model"}, {}))
    with pytest.raises(NoModel, match="no provider"):
        await ask(asking)
