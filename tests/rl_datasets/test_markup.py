"""Markup as Python's own parser of HTML reads it."""

import html.parser

import hypothesis
import pytest
from hypothesis import strategies

from rl_datasets.markup import Html, document, element, joined


class Read(html.parser.HTMLParser):
    """The elements, their attributes and the text of some markup."""

    def __init__(self, markup):
        super().__init__()
        self.started, self.text = [], ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.started.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@hypothesis.given(
    strategies.text(alphabet=strategies.characters(exclude_characters="\r\0", codec="utf-8"))
)
@hypothesis.example("</p><script>alert(1)</script>")
@hypothesis.example("\" onload='x' &amp;")
def test_text_stays_text(text):
    read = Read(element("p", text, title=text))
    assert read.started == [("p", {"title": text})]
    assert read.text == text


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (element("br"), "<br>"),
        (
            element("td", 3, class_="number", data_value=2.5),
            '<td class="number" data-value="2.5">3</td>',
        ),
        (element("p", None, ["a", [Html("<b>"), 1]]), "<p>a<b>1</p>"),
        (element("i", hidden=True, title=None, lang=False), "<i hidden></i>"),
        (joined("<", element("b", ">")), "&lt;<b>&gt;</b>"),
    ],
)
def test_an_element_is_as_html_writes_it(made, expected):
    assert made == expected


def test_a_document_fetches_nothing_and_escapes_its_title():
    made = document("</title>", "", element("p", "a"), script="f();\n")
    assert "<title>&lt;/title&gt;</title>" in made
    assert made.endswith("<p>a</p>\n<script>\nf();\n</script>\n</html>\n")
    assert not [attrs for _, attrs in Read(made).started if {"src", "href"} & attrs.keys()]
