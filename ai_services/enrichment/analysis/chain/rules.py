"""When a model is asked, and how: the settings of the chain as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.config import Config


@dataclass(frozen=True, slots=True)
class Rules:
    """`model` None: no model judges anything, and no verdict is degraded.

    A transcript goes to the model unless it is trivial or the local analyser is at least as certain
    as `certain_from`; above 1 it never is. `shortest` characters of the customer are something to
    judge.
    """

    model: str | None = None
    certain_from: float = 0.85
    shortest: int = 4

    @classmethod
    def of(cls, config: Config) -> Rules:
        """ANALYZER decides: `auto` asks the model about what is uncertain, `llm` about all.

        A trained model takes no part in that: with one it is as with `auto`.
        """
        model = None if config.analyzer == "local" else config.analysis_model
        certain = config.analysis_certain_from if config.analyzer != "llm" else 2.0
        return cls(model, certain, config.analysis_shortest)


LOCAL_ONLY: Final = Rules()


@dataclass(frozen=True, slots=True)
class Requests:
    """What is sent to a model at a time.

    A request has `batch` transcripts at most, of `request_tokens` in all, and asks for no more than
    `answer_tokens`. `at_once` are under way and `per_minute` begin, each ends after `timeout_s`, and
    is tried `tries` times. Answers stay with the llm service for `kept_s`, so that a request that
    is repeated after a crash is not paid for again. From `backfill_from` transcripts that wait on, they
    go as a batch; 0: never.
    """

    batch: int = 50
    at_once: int = 5
    per_minute: int = 60
    timeout_s: float = 30.0
    tries: int = 3
    request_tokens: int = 16_000
    answer_tokens: int = 4096
    kept_s: int = 3600
    first_pause_s: float = 0.5  # before the second try; doubled before each other
    backfill_from: int = 0

    @classmethod
    def of(cls, config: Config) -> Requests:
        return cls(
            config.analysis_batch,
            config.analysis_concurrency,
            config.analysis_per_minute,
            config.analysis_timeout_seconds,
            config.analysis_tries,
            config.analysis_request_tokens,
            config.analysis_answer_tokens,
            backfill_from=config.analysis_backfill_from,
        )
