"""Text shown to people contains no character that a terminal, a page or a drawing would obey."""

import pytest

from accounting.words.plain_text import one_line, plain, plain_values, typed_line


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("größe 猫 👩\u200d🔬", "größe 猫 👩\u200d🔬"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("bell\x07 null\x00 tab\t", "bell\\x07 null\\x00 tab\\x09"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("half \udc80", "half \\udc80"),
        ("line\u2028break", "line\\u2028break"),
        ("tag\U000e0041", "tag\\U000e0041"),
    ],
)
def test_harmful_characters_are_shown_and_not_obeyed(given: str, shown: str) -> None:
    assert plain(given) == shown


def test_line_breaks_are_kept_where_asked() -> None:
    assert plain("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n\n  the first with text \nmore"), "the first with text"),
        (ValueError(), "ValueError"),
        (ValueError(" \n "), "ValueError"),
        (KeyError("a"), "'a'"),
        (OSError(28, "No space left on device", "a\x1b[2Jb"), "[Errno 28] No space left on device: 'a\\x1b[2Jb'"),
        ("text\x07", "text\\x07"),
    ],
)
def test_an_error_is_told_in_one_safe_line(error: BaseException | str, line: str) -> None:
    assert one_line(error) == line


def test_a_long_text_is_cut() -> None:
    assert one_line(ValueError("x" * 1000), 10) == "x" * 9 + "…"


def test_the_type_comes_first_and_once() -> None:
    assert typed_line(ValueError("no")) == "ValueError: no"
    assert typed_line(MemoryError()) == "MemoryError"


def test_every_text_of_a_value_is_one_line() -> None:
    assert plain_values({"a\nb": ["\x1b", 1, None, {"c": "d\te\n"}]}) == {
        "a\\x0ab": ["\\x1b", 1, None, {"c": "d\\x09e\\x0a"}]
    }
