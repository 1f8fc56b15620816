"""Prompts as files with versions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.llm.prompts import Prompt, read_prompt

TEXT = """You read calls of a shop. Answer as {"mood": "good"}.
Use {} for nothing.

Call of {day}:
{text}
"""


def written(folder: Path, text: str | bytes, name: str = "summary.v2.md") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_a_prompt_is_read_with_its_version(tmp_path: Path) -> None:
    prompt = read_prompt(written(tmp_path, TEXT), "summary", 2)
    assert prompt.fields == {"day", "text"}
    assert re.fullmatch(r"summary@2:[0-9a-f]{8}", prompt.version)
    assert prompt.version != Prompt("summary", 2, TEXT + " ").version
    assert read_prompt(written(tmp_path, TEXT.replace("\n", "\r\n")), "summary", 2) == prompt


def test_fields_are_filled_in_behind_the_stable_part(tmp_path: Path) -> None:
    prompt = read_prompt(written(tmp_path, TEXT), "summary", 2)
    rendered = prompt.render(day="2024-01-02", text="他说{text}和{day}")
    stable = 'You read calls of a shop. Answer as {"mood": "good"}.\nUse {} for nothing.\n\n'
    assert rendered.prefix == stable
    assert rendered.rest == "Call of 2024-01-02:\n他说{text}和{day}\n"
    assert rendered.version == prompt.version
    assert rendered.messages == [
        {"role": "system", "content": stable.strip()},
        {"role": "user", "content": "Call of 2024-01-02:\n他说{text}和{day}"},
    ]
    assert prompt.render(day="x", text="y").prefix == stable


def test_a_prompt_without_fields_is_asked_as_it_is(tmp_path: Path) -> None:
    prompt = read_prompt(written(tmp_path, "Say hello."), "summary", 2)
    assert prompt.render().messages == [{"role": "user", "content": "Say hello."}]


@pytest.mark.parametrize(
    "given", [{}, {"day": "x"}, {"day": "x", "text": "y", "tone": "z"}, {"tone": "z"}]
)
def test_exactly_the_named_fields_are_given(given: dict[str, str]) -> None:
    prompt = Prompt("summary", 2, TEXT)
    with pytest.raises(TypeError, match=r"summary@2:[0-9a-f]{8} has day, text; given are"):
        prompt.render(**given)
    with pytest.raises(TypeError, match="has no fields; given are day"):
        Prompt("x", 1, "Say hello.").render(day="x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "begins with lines that are the same each time"),
        ("{text}", "begins with lines that are the same each time"),
        ("About {text}:\nsay more.", "begins with lines that are the same each time"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_file_that_holds_no_prompt_is_named(tmp_path: Path, text, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_prompt(written(tmp_path, text), "summary", 2)
    assert "summary.v2.md" in caught.value.message


def test_a_prompt_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"summary.v3.md: can't read the prompt: No such file"):
        read_prompt(written(tmp_path, TEXT), "summary", 3)
    with pytest.raises(ConfigError, match="named by lower-case letters"):
        read_prompt(tmp_path, "../summary", 1)
    with pytest.raises(ConfigError, match="counted from 1"):
        read_prompt(tmp_path, "summary", 0)
