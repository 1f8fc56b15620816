from ai_services.echo import store
from pydantic import BaseModel

from shared.data_access.ports import Relational
from shared.serving.service import Call, Endpoint


class Said(BaseModel):
    word: str


class Heard(BaseModel):
    times: int


async def say(call: Call[Relational]) -> None:
    await store.say(call.state, call.org_id, call.body.word)


async def heard(call: Call[Relational]) -> Heard:
    return Heard(times=await store.times(call.state, call.org_id, call.params["word"]))


endpoints: tuple[Endpoint[Relational], ...] = (
    Endpoint("POST", "/api/v1/echo", say, "echo:write", "Say a word", body=Said),
    Endpoint(
        "GET", "/api/v1/echo/{word}", heard, "echo:read", "Whether it came back", returns=Heard
    ),
)
