"""Who talked how much by the beginnings of turns, and whether agents kept to the script."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.analysis.chain.script import Script, adherence
from ai_services.enrichment.analysis.chain.talk import Talk, talk
from ai_services.enrichment.analysis.local import Turn


def test_a_call_in_turns_without_overlap() -> None:
    turns = [Turn("agent", 0, "x" * 100), Turn("customer", 8000, "y" * 100)]
    assert talk(turns, 20_000) == Talk(0.5, 0.35, 0)


def test_speaking_into_anothers_turn_is_an_interruption() -> None:
    turns = [
        Turn("agent", 0, "您好" * 30),
        Turn("customer", 2000, "别说了"),
        Turn("agent", 9000, "好"),
    ]
    assert talk(turns, 10_000).interruptions == 1


def test_without_times_nothing_is_told() -> None:
    assert talk([Turn("agent", None, "a"), Turn("customer", 5, "b")], 1000) == Talk()
    assert talk([], 1000) == Talk()


@given(
    st.lists(
        st.builds(
            Turn,
            st.sampled_from(["customer", "agent"]),
            st.integers(0, 10**7),
            st.text(max_size=50),
        ),
        max_size=20,
    ),
    st.integers(0, 10**7),
)
def test_shares_are_shares_whatever_the_times(turns: list[Turn], duration_ms: int) -> None:
    found = talk(turns, duration_ms)
    for share in (found.talk_ratio, found.silence_ratio):
        assert share is None or 0 <= share <= 1


SCRIPT = Script(
    must_say=("本次通话将被录音|this call is recorded", "再见"),
    must_not_say=("保证赚钱", "shut up"),
)


def test_a_script_is_kept_whatever_marks_and_width_a_transcript_has() -> None:
    turns = [Turn("agent", 0, "This call is, RECORDED."), Turn("agent", 1, "再 见！")]
    assert adherence(turns, SCRIPT).missing == ()


def test_what_is_missing_or_forbidden_is_named_and_customers_may_say_all() -> None:
    turns = [Turn("agent", 0, "我们保证，赚钱"), Turn("customer", 1, "shut up 再见 录音")]
    kept = adherence(turns, SCRIPT)
    assert kept.missing == SCRIPT.must_say
    assert kept.forbidden == ("保证赚钱",)
