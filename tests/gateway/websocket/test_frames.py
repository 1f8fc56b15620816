"""Where frames end, however they are cut on their way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.websocket.frames import Boundaries, close_frame
from tests.gateway.sockets import BINARY, CLOSE, PING, frame

SIZES = st.one_of(st.integers(0, 130), st.sampled_from([65_535, 65_536]))
FRAMES = st.lists(st.tuples(SIZES, st.sampled_from([BINARY, PING]), st.booleans()), max_size=5)


@given(given_frames=FRAMES, steps=st.lists(st.integers(1, 70_000)))
def test_every_end_of_a_frame_is_seen_and_no_other(
    given_frames: list[tuple[int, int, bool]], steps: list[int]
) -> None:
    frames = [frame(bytes(size), opcode, masked=masked) for size, opcode, masked in given_frames]
    steps = [*steps, 40_000]  # never only small ones: a large frame would take its time
    ends, at = {0}, 0
    for one in frames:
        at += len(one)
        ends.add(at)
    sent, at, step = b"".join(frames), 0, 0
    boundaries = Boundaries()
    while at < len(sent):
        part = sent[at : at + steps[step % len(steps)]]
        step += 1
        end = boundaries.feed(part)
        inside = [one - at for one in ends if at < one <= at + len(part)]
        assert end == max(inside, default=-1)
        at += len(part)
        assert boundaries.between == (at in ends)


def test_nothing_may_follow_a_close_frame() -> None:
    boundaries = Boundaries()
    boundaries.feed(frame(b"", CLOSE))
    assert not boundaries.between


def test_a_close_frame_says_why() -> None:
    assert close_frame(1008) == frame((1008).to_bytes(2), CLOSE)
