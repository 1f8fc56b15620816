"""What a model reads of a transcript, which are the same, and how a long one is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.analysis.chain.transcript import basis_of, items_of, normalised
from ai_services.enrichment.analysis.chain.trivial import is_trivial
from ai_services.enrichment.analysis.local import Turn

BASIS = basis_of("llm:m/calls@1", ("退款",))
turns = st.lists(
    st.builds(
        Turn, st.sampled_from(["customer", "agent"]), st.none() | st.integers(0, 10**6), st.text()
    ),
    max_size=30,
)


def said(*texts: str) -> list[Turn]:
    return [Turn("customer", None, text) for text in texts]


def digest(several: list[Turn], basis: bytes = BASIS) -> list[bytes]:
    return [item.digest for item in items_of(normalised(several), basis, 10_000)]


def test_blanks_unseen_marks_and_times_make_no_other_transcript() -> None:
    one = [Turn("customer", 10, "我要  投诉\u200b\n"), Turn("agent", None, " ")]
    assert digest(one) == digest([Turn("customer", None, "我要 投诉")])


def test_who_said_it_and_what_is_asked_make_another() -> None:
    assert digest(said("喂")) != digest([Turn("agent", None, "喂")])
    assert digest(said("喂")) != digest(said("喂"), basis_of("llm:m/calls@1", ()))
    assert digest(said("a", "b")) != digest(said("ab"))


@given(turns, st.integers(500, 2000))
def test_windows_hold_all_words_in_order_and_are_small_enough(
    several: list[Turn], most: int
) -> None:
    whole = normalised(several)
    items = items_of(whole, BASIS, most)
    pieces = [one for item in items for one in item.said]
    assert "".join(one.text for one in pieces) == "".join(one.text for one in whole)
    assert all(item.tokens <= most + 12 for item in items)


def test_one_turn_that_is_too_long_is_cut() -> None:
    items = items_of(normalised(said("很" * 5000)), BASIS, 500)
    assert len(items) > 10
    assert len({item.digest for item in items}) > 1


def test_what_is_trivial() -> None:
    def trivial(*texts: str) -> bool:
        return is_trivial(normalised(said(*texts)), 4)

    assert trivial()
    assert trivial("喂", "嗯")
    assert trivial("您拨打的电话暂时无法接通，请稍后再拨")
    assert trivial("You have reached the voicemail of Ann.", "Please leave a message.")
    assert not trivial("我要投诉")
    assert not trivial("我的语音信箱坏了，你们能不能修", "昨天打过电话", "没人接", "怎么办")
    assert is_trivial(normalised([Turn("agent", None, "您好，请问有什么可以帮您？")]), 4)
