from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.reading.read_file import Batch, read_records
from ai_services.enrichment.validation.record import FIELDS, FRAME_SCHEMA
from ai_services.enrichment.validation.written import ROUNDED
from shared.calls import CALL_STATUSES
from tests.ai_services.enrichment.calls_files import CALL, NOW, TURNS, call, rows


def check(*records: Any) -> Batch:
    return read_records([json.dumps(record).encode() for record in records], now=NOW)


def refused(**changes: Any) -> tuple[str, str]:
    """Field and problem of a call with these changes."""
    batch = check(call(**changes))
    assert batch.frame.is_empty()
    [reject] = batch.rejects
    assert reject.line == 1
    assert reject.fix
    return reject.field, reject.problem


def left_out(**changes: Any) -> tuple[str, str]:
    """Field and problem of what a call with these changes came in without."""
    batch = check(call(**changes))
    assert batch.rejects == []
    [note] = batch.notes
    assert note.line == 1
    assert note.fix
    assert rows(batch)[0][note.field] in (None, 0, 61_000)  # empty, or what follows from the rest
    return note.field, note.problem


def taken(**changes: Any) -> dict[str, Any]:
    batch = check(call(**changes))
    assert batch.rejects == []
    return rows(batch)[0]


def test_a_good_call_keeps_every_value() -> None:
    batch = check(call(turns=TURNS))
    assert batch.frame.schema == dict(FRAME_SCHEMA)
    row = rows(batch)[0]
    assert json.loads(row.pop("turns")) == TURNS
    assert row == {
        **CALL,
        "line": 1,
        "phone": "+8613812348000",
        "started_at": datetime(2024, 3, 5, 6, 20, tzinfo=UTC),
    }


@pytest.mark.parametrize("field", ["callid", "user_id", "started_at", "call_status"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_required_fields_must_be_there(field: str, value: str | None) -> None:
    assert refused(**{field: value}) == (field, "is missing")


def test_a_connected_call_needs_its_duration() -> None:
    assert refused(duration_ms=None) == ("duration_ms", "is missing")
    idle = {"rounds": 0, "level_name": None, "hangup_by": None, "bill_ms": None}
    assert taken(call_status="busy", duration_ms=None, **idle)["duration_ms"] == 0


def test_defaults_follow_from_status_and_transcript() -> None:
    bare = {"bill_ms": None, "rounds": None}
    assert taken(**bare)["bill_ms"] == 61_000
    assert taken(**bare)["rounds"] == 0
    assert taken(**bare, turns=TURNS)["rounds"] == 1
    assert taken(turns=TURNS)["rounds"] == 2  # what the source says stays
    ringing = taken(call_status="no_answer", level_name=None, hangup_by=None, **bare)
    assert (ringing["duration_ms"], ringing["bill_ms"]) == (61_000, 0)


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"callid": "x" * 65}, "callid", "has 65 characters"),
        ({"callid": "a\u0000b"}, "callid", "contains a NUL character (U+0000)"),
        ({"user_id": "\ud800x"}, "user_id", "contains half of a surrogate pair (U+D800)"),
        (
            {"started_at": "2024-02-30T10:00:00Z"},
            "started_at",
            "2024-02-30 does not exist in the calendar",
        ),
        ({"started_at": "1999-12-31T23:59:59Z"}, "started_at", "is before the year 2000"),
        ({"started_at": "2026-01-02T00:00:01Z"}, "started_at", "lies in the future"),
        ({"duration_ms": -1}, "duration_ms", "is negative"),
        ({"duration_ms": 86_400_001}, "duration_ms", "is more than a day (86,400,000 ms)"),
        ({"duration_ms": 10**30}, "duration_ms", "is far too large"),
        ({"duration_ms": 1.5}, "duration_ms", "is not a whole number"),
        ({"duration_ms": "1e3"}, "duration_ms", "is not a whole number"),
        ({"duration_ms": "NaN"}, "duration_ms", "is not a whole number"),
        ({"duration_ms": True}, "duration_ms", "is true or false"),
        ({"duration_ms": [1]}, "duration_ms", "is a list"),
        ({"call_status": "conected"}, "call_status", "is not a call status"),
    ],
)
def test_each_rule_names_field_and_problem(
    changes: dict[str, Any], field: str, problem: str
) -> None:
    assert refused(**changes) == (field, problem)


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"customer_id": "a\nb"}, "customer_id", "contains an invisible character (U+000A)"),
        ({"task_id": "a\u200bb"}, "task_id", "contains an invisible character (U+200B)"),
        ({"phone": "12"}, "phone", "is not a phone number"),
        ({"phone": "1" * 21}, "phone", "is not a phone number"),
        ({"phone": "138-1234-x"}, "phone", "is not a phone number"),
        ({"bill_ms": "-5"}, "bill_ms", "is negative"),
        ({"rounds": 10_001}, "rounds", "is more than 10,000"),
        ({"level_name": "G"}, "level_name", "is not an intention level"),
        ({"hangup_by": 0}, "hangup_by", "is neither 1 nor 2"),
        ({"hangup_by": "robot"}, "hangup_by", "is neither 1 nor 2"),
        ({"customer_id": "a/b"}, "customer_id", "contains '/', which no path of the API can carry"),
        ({"task_id": "x" * 65}, "task_id", "has 65 characters"),
        ({"agent_id": "x" * 65}, "agent_id", "has 65 characters"),
        ({"customer_id": "1.23457E+17"}, "customer_id", ROUNDED[0]),
        ({"phone": "1.38E+10"}, "phone", ROUNDED[0]),
        ({"phone": ["13812348000"]}, "phone", "is a list"),
        ({"level_name": True}, "level_name", "is true or false"),
        ({"rounds": "many"}, "rounds", "is not a whole number"),
        ({"rounds": -1}, "rounds", "is negative"),
        ({"bill_ms": 10**30}, "bill_ms", "is far too large"),
    ],
)
def test_what_a_call_may_lack_is_left_empty_with_a_note(
    changes: dict[str, Any], field: str, problem: str
) -> None:
    assert left_out(**changes) == (field, problem)


def test_notes_are_told_of_calls_that_come_in_and_counted_by_field() -> None:
    batch = check(
        call(phone="anonymous", level_name="无", hangup_by=0),
        call(callid="c-2", phone="anonymous", duration_ms=-1),
        call(callid="c-3", phone="Anonymous"),
    )
    assert [(note.line, note.field, note.value) for note in batch.notes] == [
        (1, "level_name", "无"), (1, "hangup_by", "0"), (1, "phone", "anonymous"),
        (3, "phone", "Anonymous"),
    ]  # fmt: skip
    assert batch.noted == {"phone": 2, "level_name": 1, "hangup_by": 1}
    assert [reject.line for reject in batch.rejects] == [2]


def test_a_duration_that_is_no_duration_is_only_needed_by_connected_calls() -> None:
    quiet = {"rounds": 0, "level_name": None, "hangup_by": None, "call_status": "busy"}
    assert left_out(**quiet, duration_ms="-") == ("duration_ms", "is not a whole number")
    assert refused(duration_ms="-") == ("duration_ms", "is not a whole number")


def test_numbers_in_notes_are_masked() -> None:
    batch = check(
        call(phone="13812348000/13987654321"), call(callid="c-2", phone="13812348000 ext 5"),
        call(callid="c-3", customer_id="a/13812348000"), call(callid="c-4", turns="13812348000"),
        call(callid="c-5", phone="138****8000"), call(callid="c-6", phone="1.381234E+10"),
    )  # fmt: skip
    assert len(batch.notes) == 6
    for note in batch.notes:
        assert "13812348000" not in f"{note.value} {note.problem} {note.fix}"
    assert batch.notes[4].value == "138****8000"


@pytest.mark.parametrize("field", ["callid", "user_id"])
@pytest.mark.parametrize("value", ["1.23457E+17", "1.2E+5", "1,23457E+17", "9E+15"])
def test_an_id_that_a_spreadsheet_has_rounded_refuses_its_row(field: str, value: str) -> None:
    assert refused(**{field: value}) == (field, ROUNDED[0])


def test_an_id_in_hexadecimal_digits_is_an_id() -> None:
    assert taken(callid="1e5")["callid"] == "1e5"
    assert taken(callid=100000000000000000000)["callid"] == "100000000000000000000"


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in ("callid", "phone")])
def test_a_whole_number_beyond_64_bits_is_told_or_kept_as_text(field: str) -> None:
    for number in (2**63, 2**64, -(2**63) - 1, 10**30):
        batch = check({**call(), field: number}, call(callid="c-2"))
        assert batch.frame["callid"].to_list()[-1] == "c-2"
        assert len(batch.rejects) + len(batch.notes) == (
            field not in ("user_id", "task_id", "agent_id", "customer_id")
        )


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        ("1e3", "is not a whole number"),
        ("12.5", "is not a whole number"),
        ("NaN", "is not a finite number"),
        ("Infinity", "is not a finite number"),
        ("1e400", "is not a finite number"),
        ("-1E+999", "is not a finite number"),
        ("9" * 30, "is far too large"),
        ("-" + "9" * 5_000, "is far too large"),
    ],
)
def test_json_numbers_are_judged_as_they_are_written(number: str, problem: str) -> None:
    line = json.dumps(call(duration_ms=0)).replace('"duration_ms": 0', f'"duration_ms": {number}')
    [reject] = read_records([line.encode()], now=NOW).rejects
    assert (reject.field, reject.problem) == ("duration_ms", problem)
    if len(number) < 20:
        assert reject.value == number


def test_limits_are_inclusive() -> None:
    row = taken(
        callid="x" * 64,
        duration_ms=86_400_000,
        rounds=10_000,
        started_at="2026-01-02T00:00:00Z",
        phone="1" * 20,
    )
    assert row["duration_ms"] == 86_400_000
    assert taken(started_at="2000-01-01T00:00:00Z", phone="123")["phone"] == "123"


def test_spellings_are_brought_to_one() -> None:
    row = taken(
        callid=" c-9 ",
        phone="+86 (138) 1234-8000",
        duration_ms="61000.0",
        rounds="2",
        level_name="b",
        call_status="Connected ",
        hangup_by="1",
        task_id=77,
    )
    assert (row["callid"], row["phone"], row["task_id"]) == ("c-9", "+8613812348000", "77")
    assert (row["duration_ms"], row["rounds"], row["hangup_by"]) == (61_000, 2, 1)
    assert (row["level_name"], row["call_status"]) == ("B", "connected")


@pytest.mark.parametrize("status", [s for s in CALL_STATUSES if s != "connected"])
@pytest.mark.parametrize(("field", "value"), [("rounds", 1), ("level_name", "A"), ("turns", TURNS)])
def test_what_only_a_conversation_has_contradicts_other_statuses(
    status: str, field: str, value: Any
) -> None:
    quiet = {"rounds": 0, "level_name": None, "call_status": status}
    told, problem = refused(**{**quiet, field: value})
    assert told == field
    assert problem.endswith("but the call was not connected")


def test_a_hangup_of_an_unconnected_call_is_dropped_with_one_warning() -> None:
    quiet = {"rounds": 0, "level_name": None, "call_status": "rejected"}
    batch = check(call(**quiet), call(callid="c-2", **quiet))
    assert batch.rejects == []
    assert batch.frame["hangup_by"].to_list() == [None, None]
    [warning] = batch.warnings
    assert "hangup_by" in warning


def test_a_misspelt_status_is_met_with_the_nearest() -> None:
    for slip in ("no_anser", "noanswr"):
        [reject] = check(call(call_status=slip)).rejects
        assert "did you mean no_answer?" in reject.fix


def test_a_row_is_rejected_once_and_names_all_its_wrong_fields() -> None:
    [reject] = check(call(user_id="", duration_ms=-1, level_name="Z")).rejects
    assert reject.field == "user_id"
    assert reject.problem == "is missing (also wrong: duration_ms, level_name)"


def test_one_bad_row_leaves_the_others_alone() -> None:
    batch = check(call(callid="a"), call(callid="b", duration_ms=-1), [], call(callid="d"))
    assert batch.frame["callid"].to_list() == ["a", "d"]
    assert batch.frame["line"].to_list() == [1, 4]
    assert [reject.line for reject in batch.rejects] == [2, 3]


def test_phone_numbers_never_show_in_rejects() -> None:
    batch = check(
        call(duration_ms=-1),
        call(phone="1381234800012345678901"),
        call(phone=["13812348000"], duration_ms=-1),
        {"phone": "13812348000"},
    )
    broken = read_records([b'{"phone": "13812348000", '], now=NOW)
    for reject in (*batch.rejects, *broken.rejects):
        assert "13812348000" not in f"{reject.value} {reject.raw}"


def test_what_is_kept_of_a_reject_can_be_stored() -> None:
    batch = check(call(callid="a\0b"), call(callid="\ud800"), call(turns=["\0\udfff"]))
    raw = read_records([b'{"callid": "a\0', b"\xff\xed\xa0\x80"], now=NOW)
    for reject in (*batch.rejects, *raw.rejects):
        for text in (reject.value, reject.raw, reject.problem):
            assert "\0" not in text
            text.encode()


def test_what_is_kept_of_a_reject_is_bounded() -> None:
    [reject] = check(call(callid="x" * 10_000)).rejects
    assert len(reject.value) == 200
    assert len(reject.raw) == 2_000


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        ("hello", "doesn't say who speaks, and is not JSON"),
        ("[1, ", "is not JSON (Expecting value: line 1 column 5 (char 4))"),
        ({"role": "agent"}, "is an object"),
        (["hi"], "turns[0] is text"),
        ([{"role": "speaker 1", "text": "x"}], "turns[0].role is 'speaker 1'"),
        ([{"text": "x"}], "turns[0].role is missing"),
        ([{"role": "agent"}], "turns[0].text is missing"),
        ([{"role": "agent", "text": 5}], "turns[0].text is a number"),
        ([{"role": "agent", "text": "x", "at_ms": -1}], "turns[0].at_ms is -1"),
        ([{"role": "agent", "text": "x", "at_ms": "5"}], "turns[0].at_ms is '5'"),
        ([{"role": "agent", "text": "x", "at_ms": 1.5}], "turns[0].at_ms is 1.5"),
        ([{"role": "agent", "text": "x", "at_ms": True}], "turns[0].at_ms is True"),
        ([TURNS[0]] * 5_001, "has 5,001 turns"),
        ([{"role": "agent", "text": "字" * 1_000_001}], "has 1,000,001 characters of text"),
    ],
)
def test_what_is_wrong_in_a_transcript_is_located(turns: Any, problem: str) -> None:
    batch = check(call(turns=turns))
    [note] = batch.notes
    assert (note.field, note.problem) == ("turns", problem)
    assert [row["turns"] for row in rows(batch)] == [None]


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        (
            [TURNS[0], {"role": "agent", "text": "a\0"}],
            "turns[1].text contains a NUL character (U+0000)",
        ),
        (
            [{"role": "agent", "text": "\udfff"}],
            "turns[0].text contains half of a surrogate pair (U+DFFF)",
        ),
    ],
)
def test_a_damaged_transcript_refuses_its_row(turns: Any, problem: str) -> None:
    assert refused(turns=turns) == ("turns", problem)


def test_turns_of_neither_side_are_left_out() -> None:
    said = [
        {"role": "IVR", "text": "press 1"},
        {"role": "客服", "text": "您好"},
        {"role": "User", "text": "hi"},
    ]
    batch = check(call(turns=said, rounds=None))
    [note] = batch.notes
    assert note.field == "turns"
    assert "1 turns of neither side" in note.problem
    [row] = rows(batch)
    assert [turn["role"] for turn in json.loads(row["turns"])] == ["agent", "customer"]
    assert row["rounds"] == 1


def test_transcripts_at_the_limits_are_taken() -> None:
    assert json.loads(taken(turns=[TURNS[0]] * 5_000)["turns"]) == [TURNS[0]] * 5_000
    long = [{"role": "customer", "at_ms": None, "text": "字" * 1_000_000}]
    assert json.loads(taken(turns=long)["turns"]) == long


def test_a_backslash_u0000_in_text_is_not_a_nul() -> None:
    turns = [{"role": "agent", "at_ms": 0, "text": "\\u0000"}]
    assert json.loads(taken(turns=turns)["turns"]) == turns


def test_an_empty_transcript_is_none() -> None:
    assert taken(turns=[])["turns"] is None


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
turns = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["customer", "agent"]),
            "at_ms": st.none() | st.integers(0, 86_400_000),
            "text": texts,
        }
    ),
    max_size=6,
)


@given(turns)
def test_typed_and_explained_paths_agree(transcript: list[dict[str, Any]]) -> None:
    plain = call(turns=transcript)
    # An unknown key, or a number written as text, takes the other path.
    odd = {**plain, "rounds": "2", "extra": 1}
    batch = check(plain, {**odd, "callid": "c-2"})
    assert batch.rejects == []
    first, second = (row["turns"] for row in rows(batch))
    assert first == second
    assert (json.loads(first) if first else []) == transcript
