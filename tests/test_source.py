"""The code that a result depends on: what changes its hash, and what does not."""

from __future__ import annotations

from sei.source import Code, Root

MODULES = {
    "sei.a": '''
"""Module docstring."""
from sei.b import helper, CONSTANT
from sei import c
from sei.never import unused

def stage(records):
    """Docstring."""
    return [shaped(record, CONSTANT) for record in records]

def shaped(record, size):
    return helper(record) + c.used(size)

def not_reached():
    return unused()
''',
    "sei.b": "CONSTANT = 3\n\ndef helper(record):\n    from sei.d import Late\n    return Late().text(record)\n",
    "sei.c": "def used(size):\n    return size\n\ndef other(size):\n    return 0\n",
    "sei.d": "class Base:\n    def text(self, record: str) -> str:\n        return record\n\nclass Late(Base):\n    pass\n",
    "sei.never": "def unused():\n    return 1\n",
    "sei": "",
}
ROOT: Root = ("sei.a", "stage")


def digest(**changed: str) -> str:
    modules = MODULES | {f"sei.{name}": text for name, text in changed.items()}
    return Code(modules.get).digest([ROOT])


def swapped(module: str, old: str, new: str) -> str:
    text = MODULES[f"sei.{module}"]
    assert old in text
    return digest(**{module: text.replace(old, new)})


def test_code_that_is_reached_counts_through_imports_constants_and_base_classes() -> None:
    before = digest()
    assert swapped("a", "+ c.used", "* c.used") != before
    assert swapped("b", "CONSTANT = 3", "CONSTANT = 4") != before
    assert swapped("c", "return size", "return size + 1") != before
    assert swapped("d", "return record", "return record + ' '") != before


def test_what_changes_no_result_does_not_count() -> None:
    before = digest()
    assert swapped("a", '"""Docstring."""', '"""Said better."""') == before
    assert swapped("a", "def stage(records):", "def stage(records: list[str]) -> list[str]:  # typed") == before
    assert swapped("a", "return unused()", "return 2 * unused()") == before
    assert swapped("c", "return 0", "return 1") == before
    assert swapped("never", "return 1", "return 2") == before
    assert swapped("d", "record: str", "record: object") == before


def test_nothing_is_imported_to_be_read() -> None:
    import subprocess
    import sys

    program = (
        "import sys; from sei.source import Code;"
        "found = Code().reached([('sei.target.hf', 'HF')]);"
        "assert ('sei.target.generation', 'HFEngine') in found, found.keys();"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
