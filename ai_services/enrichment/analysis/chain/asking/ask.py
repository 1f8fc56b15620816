"""Asking a model about several transcripts, and believing of its answer only what can be checked.

An answer has to fit its schema, is repaired once, and names each transcript by its id. What is
missing is asked again alone. A request that the model can't answer, or not in time, is halved until
the transcript is found that is the reason: that one is a dead letter, the others have their verdicts.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import openai

from ai_services.enrichment.analysis.chain.asking.fence import Fenced, fenced
from ai_services.enrichment.analysis.chain.asking.pace import Pace
from ai_services.enrichment.analysis.chain.asking.packing import Pack
from ai_services.enrichment.analysis.chain.asking.patience import Patience
from ai_services.enrichment.analysis.chain.asking.together import together
from ai_services.enrichment.analysis.chain.asking.verdict import (
    Verdict,
    Verdicts,
    storable,
)
from ai_services.enrichment.analysis.chain.metrics import ChainMetrics, Outcome
from ai_services.enrichment.analysis.chain.rules import Requests
from shared import errors
from shared.llm.client import LanguageModels
from shared.llm.prompts import Prompt, Rendered
from shared.llm.structured import Structured, request_of, structured, value_of
from shared.security import Principal

PURPOSE: Final = "analysis"
DeadReason = Literal["invalid", "missing", "refused", "timeout", "too_long"]
_DETAIL: Final = 500  # characters
# What a part of the request may have an answer to.
_UNANSWERED: Final = (
    errors.AnswerInvalid,
    errors.ContentRefused,
    errors.ContextTooLong,
    errors.UpstreamTimeout,
)


@dataclass(frozen=True, slots=True)
class Dead:
    """No answer fits this transcript."""

    reason: DeadReason
    detail: str


class ModelsAway(errors.LoomaError):
    """No model can be asked now: no money, no model, an outage, a limit. It may be later."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome: Final = outcome


Found = dict[bytes, Verdict | Dead]  # by the digests of items


@dataclass(frozen=True, slots=True)
class _Question:
    """What all requests about one pack have in common; `answers_before` it was asked."""

    org_id: UUID
    topics: Sequence[str]
    found: Found
    answers_before: int


class Asking:
    """`ask` a pack; `analyzer` is who has judged."""

    def __init__(
        self,
        models: LanguageModels,
        model: str,
        analyzer: str,
        prompt: Prompt,
        fence_key: bytes,
        requests: Requests,
        pace: Pace,
        metrics: ChainMetrics,
    ) -> None:
        self._models = models
        self._model = model
        self._prompt = prompt
        self._key = fence_key
        self._requests = requests
        self._pace = pace
        self._metrics = metrics
        self._patience = Patience()
        self.analyzer: Final = analyzer

    async def ask(self, org_id: UUID, pack: Pack, topics: Sequence[str], found: Found) -> None:
        """Puts a verdict, or why there is none, for each item into `found`.

        Each as soon as it is known: when ModelsAway is raised, what was answered before is there.
        """
        await self._ask(_Question(org_id, topics, found, self._patience.answers), pack)

    async def _ask(self, question: _Question, pack: Pack) -> None:
        marked = fenced(self._key, question.org_id, pack.items)
        try:
            answer = await self._tried(question.org_id, marked, question.topics)
        except _UNANSWERED as error:
            if not isinstance(error, errors.UpstreamTimeout):
                self._patience.answered()
            if len(pack.items) > 1:
                await self._each(question, pack.halves())
            else:
                digest = pack.items[0].digest
                question.found[digest] = self._given_up(digest, error, question.answers_before)
            return
        self._patience.answered()
        checked = self._checked(_asked(marked, pack), answer)
        question.found.update(checked)
        missing = [item for item in pack.items if item.digest not in checked]
        if len(pack.items) == 1 and missing:
            question.found[missing[0].digest] = Dead("missing", "The answer has no such id.")
            return
        await self._each(question, [Pack((item,)) for item in missing])

    async def _each(self, question: _Question, packs: Iterable[Pack]) -> None:
        """Once no model can be asked no other begins, but those under way end: they are paid for."""
        waiting = iter(packs)
        away: list[ModelsAway] = []

        async def lane() -> None:
            for pack in waiting:
                if away:
                    return
                try:
                    await self._ask(question, pack)
                except ModelsAway as error:
                    away.append(error)

        await together(lane() for _ in range(self._requests.at_once))
        if away:
            raise away[0]

    def _given_up(self, digest: bytes, error: errors.LoomaError, answers_before: int) -> Dead:
        """Why this one has no verdict; ModelsAway if it may be the model's fault."""
        detail = storable(error.message)[:_DETAIL]
        match error:
            case errors.UpstreamTimeout():
                if not self._patience.is_over(digest, answers_before):
                    raise ModelsAway("timeout", error.message) from error
                return Dead("timeout", detail)
            case errors.ContextTooLong():
                return Dead("too_long", detail)
            case errors.ContentRefused():
                return Dead("refused", detail)
            case _:
                return Dead("invalid", detail)

    def request(
        self, org_id: UUID, pack: Pack, topics: Sequence[str]
    ) -> tuple[dict[str, Any], Mapping[str, bytes]]:
        """The body that `ask` sends, for a batch; and the digests by the ids that it asks about."""
        marked = fenced(self._key, org_id, pack.items)
        self._metrics.transcripts.observe(len(marked.ids))
        body = request_of(
            Verdicts,
            model=self._model,
            messages=self._rendered(marked, topics).messages,
            temperature=0,
            max_tokens=self._requests.answer_tokens,
        )
        return body, _asked(marked, pack)

    def read(self, asked: Mapping[str, bytes], completion: Any) -> dict[bytes, Verdict]:
        """The verdicts of an answer to `request`; those that are no good are to be asked for again."""
        try:
            answer = value_of(Verdicts, completion)
        except errors.AnswerInvalid as error:
            self._metrics.request(_outcome(error))
            return {}
        self._metrics.request("ok")
        return self._checked(asked, answer)

    def client(self, org_id: UUID) -> openai.AsyncOpenAI:
        """The llm service, asked for this organisation."""
        principal = Principal(org_id, "service:enrichment", "service", "service")
        return self._models.asked_by(principal, PURPOSE, prompt_version=self._prompt.version)

    def _checked(self, asked: Mapping[str, bytes], answer: Verdicts) -> dict[bytes, Verdict]:
        """Verdicts by the ids that were asked for; one that is there twice is none."""
        times = Counter(one.id for one in answer.calls)
        self._metrics.wrong_id("unknown", sum(times[one] for one in times if one not in asked))
        self._metrics.wrong_id("twice", sum(times[one] > 1 for one in asked))
        self._metrics.wrong_id("missing", sum(one not in times for one in asked))
        return {
            asked[one.id]: one for one in answer.calls if one.id in asked and times[one.id] == 1
        }

    async def _tried(self, org_id: UUID, marked: Fenced, topics: Sequence[str]) -> Verdicts:
        """What a try brings; what others may bring better is tried again after a pause."""
        pause = self._requests.first_pause_s
        for left in reversed(range(self._requests.tries)):
            try:
                answer = await self._once(org_id, marked, topics)
            except (errors.AnswerInvalid, errors.ContextTooLong, errors.ContentRefused) as error:
                self._metrics.request(_outcome(error))
                raise
            except errors.LoomaError as error:
                outcome = _outcome(error)
                self._metrics.request(outcome)
                if outcome == "timeout" and (not left or len(marked.ids) > 1):
                    raise  # a part of it takes less time
                if not left or outcome in ("budget", "no_model"):
                    raise ModelsAway(outcome, error.message) from error
                await asyncio.sleep(max(pause, min(error.retry_after or 0, 30.0)))
                pause *= 2
            else:
                self._metrics.request("repaired" if answer.is_repaired else "ok")
                return answer.value
        raise AssertionError("the last try returns or raises")

    def _rendered(self, marked: Fenced, topics: Sequence[str]) -> Rendered:
        return self._prompt.render(
            topics="; ".join(topics) or "none", fence=marked.word, transcripts=marked.text
        )

    async def _once(
        self, org_id: UUID, marked: Fenced, topics: Sequence[str]
    ) -> Structured[Verdicts]:
        rendered = self._rendered(marked, topics)
        client = self.client(org_id)
        async with self._pace.turn():
            self._metrics.transcripts.observe(len(marked.ids))
            return await structured(
                client,
                Verdicts,
                model=self._model,
                messages=rendered.messages,
                temperature=0,
                max_tokens=self._requests.answer_tokens,
                timeout=self._requests.timeout_s,
                extra_headers={"X-Cache-Seconds": str(self._requests.kept_s)},
            )


def _asked(marked: Fenced, pack: Pack) -> dict[str, bytes]:
    """The digests of a pack by the ids that its request has for them."""
    return dict(zip(marked.ids, pack.digests, strict=True))


def _outcome(error: errors.LoomaError) -> Outcome:
    match error:
        case errors.AnswerInvalid():
            return "invalid"
        case errors.ContextTooLong():
            return "too_long"
        case errors.ContentRefused():
            return "refused"
        case errors.BudgetExceeded():
            return "budget"
        case errors.NoModel() | errors.ModelNotFound() | errors.NoPrice() | errors.InvalidInput():
            return "no_model"
        case errors.TooManyRequests():
            return "limited"
        case errors.UpstreamTimeout():
            return "timeout"
        case _:
            return "unavailable"
