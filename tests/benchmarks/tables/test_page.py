"""Pages that are filled in from results."""

from benchmarks.tables import page


def test_a_page_is_filled_between_its_marks():
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    assert page.filled(text, {"x": "| new |\n"}) == "a\n<!-- x -->\n| new |\n<!-- /x -->\nb\n"
