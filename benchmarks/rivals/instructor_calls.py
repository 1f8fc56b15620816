"""One request for each transcript with `instructor`, as its documentation has it; in its own environment.

python instructor_calls.py BASE_URL MODEL AT_ONCE < transcripts.jsonl

Each line on stdin is a list of turns. Prints one JSON object: answered, failed, seconds, cpu_ms_each.
"""

import asyncio
import json
import sys
import time
from typing import Literal

import instructor  # type: ignore[import-not-found] # it lives in an environment of its own
from openai import AsyncOpenAI
from pydantic import BaseModel, Field


class Verdict(BaseModel):
    sentiment: Literal["positive", "neutral", "negative"]
    sentiment_score: float = Field(ge=0, le=1)
    complaint_risk: Literal["low", "medium", "high"]
    churn_risk: Literal["low", "medium", "high"]
    reason: str
    summary: str


async def main(url: str, model: str, at_once: int) -> None:
    transcripts = [json.loads(line) for line in sys.stdin]
    client = instructor.from_openai(
        AsyncOpenAI(base_url=url, api_key="none"), mode=instructor.Mode.JSON
    )
    places = asyncio.Semaphore(at_once)
    failed = 0

    async def one(turns: list[dict[str, str]]) -> None:
        nonlocal failed
        said = "\n".join(f"{turn['role']}: {turn['text']}" for turn in turns)
        async with places:
            try:
                await client.chat.completions.create(
                    model=model,
                    response_model=Verdict,
                    messages=[{"role": "user", "content": f"Judge this call:\n{said}"}],
                )
            except Exception as error:  # noqa: BLE001 - whatever it raises is a failure of one
                failed += 1
                print(repr(error)[:300], file=sys.stderr)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(turns) for turns in transcripts))
    print(
        json.dumps(
            {
                "answered": len(transcripts) - failed,
                "failed": failed,
                "seconds": time.perf_counter() - began,
                "cpu_ms_each": 1000 * (time.process_time() - cpu) / len(transcripts),
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
