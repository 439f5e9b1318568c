"""Names as they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet.report.names import as_markdown, one_line, readable

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # surrogates too


@given(ANY_TEXT)
def test_any_readable_text_is_utf8_without_control_characters_and_of_the_same_length(text):
    shown = readable(text)
    assert shown.encode().decode() == shown
    assert len(shown) == len(text)
    assert not any(ord(character) < 32 and character not in "\t\n" for character in shown)


@given(ANY_TEXT, st.integers(1, 50))
def test_one_line_is_one_line_of_at_most_so_many_characters(text, most):
    shown = one_line(text, most)
    assert len(shown) <= most
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize("name", ["golden retriever", "$a$", "<script>", "Käfer", "שלום", "👾", ""])
def test_a_name_that_can_be_shown_is_not_changed(name):
    assert readable(name) == one_line(name, 40) == name


def test_a_byte_that_is_not_utf8_is_shown_by_the_replacement_character():
    assert readable("caf\udce9") == "caf\ufffd"


def test_a_name_that_is_cut_ends_with_dots():
    assert one_line("two\nlines", 6) == "two l…"


def test_markdown_shows_a_name_as_it_is_on_one_line():
    assert as_markdown("a\n# b\x1b[31m") == r"a \# b" + "\ufffd" + r"\[31m"
    assert as_markdown("[l](u) <i> :smile: at 1: 2") == r"\[l\](u) \<i\> \:smile: at 1: 2"
