"""What is written and read as text is UTF-8 on every machine, whatever its locale."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = [
    path
    for package in ("rl_datasets", "builders", "learners", "benchmarks")
    for path in sorted((ROOT / package).rglob("*.py"))
]
TEXT = ("read_text", "write_text")


def leaves_it_to_the_locale(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", None) or getattr(call.func, "id", None)
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    if name == "open":
        constants = [each.value for each in call.args if isinstance(each, ast.Constant)]
        return any(each in ("r", "w", "a", "x") for each in constants)
    return name in TEXT and not (name == "read_text" and call.args)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_has_an_encoding(path):
    calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
    assert not [ast.unparse(call) for call in calls if leaves_it_to_the_locale(call)]
