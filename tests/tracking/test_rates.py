"""Success of corrections by source and level."""

from __future__ import annotations

from pathlib import Path

import pytest

from sei.records import Correction, Mistake
from sei.tracking.rates import rates, write


def mistake(number: int, model: str, level: int) -> Mistake:
    return Mistake(f"m{number}", f"p{number}", "a", "q", "1", "#### 1", "#### 2", model, level=level)


def correction(number: int) -> Correction:
    return Correction(f"c{number}", f"m{number}", 1, "why", ("s",), "s\n#### 1", "1")


MISTAKES = [mistake(0, "b", 1), mistake(1, "a", 1), mistake(2, "a", 2), mistake(3, "a", 2), mistake(4, "a", 1)]
CORRECTIONS = [correction(number) for number in (0, 1, 2)]


def test_each_source_and_level_then_the_sums() -> None:
    found = [(r.source, r.level, r.mistakes, r.corrections) for r in rates(CORRECTIONS, MISTAKES)]
    assert found == [
        ("a", 1, 2, 1),
        ("a", 2, 2, 1),
        ("a", None, 4, 2),
        ("b", 1, 1, 1),
        ("b", None, 1, 1),
        (None, 1, 3, 2),
        (None, 2, 2, 1),
        (None, None, 5, 3),
    ]


def test_the_rate_has_wilsons_interval() -> None:
    (row,) = rates([correction(n) for n in range(8)], [mistake(n, "a", 3) for n in range(10)])
    # z = 1.96, p = 0.8, n = 10: centre (0.8 + 0.19207) / 1.38415 = 0.71674, half 0.22659
    assert (row.rate, round(row.low, 4), round(row.high, 4)) == (0.8, 0.4902, 0.9433)


def test_levels_may_come_from_elsewhere() -> None:
    found = {(r.source, r.level): r.mistakes for r in rates([], MISTAKES[1:], {"p1": 4, "p2": 4, "p3": 5})}
    assert found == {("a", 0): 1, ("a", 4): 2, ("a", 5): 1, ("a", None): 4}, "one source: its sum is not repeated"


def test_a_correction_without_its_mistake_is_refused() -> None:
    with pytest.raises(ValueError, match="1 corrections of mistakes that are not given, among them of m9"):
        rates([correction(9)], MISTAKES)


def test_table_and_figure(tmp_path: Path) -> None:
    all_right = [mistake(number, "$x", number % 5 + 1) for number in range(37)]
    write(tmp_path, rates(CORRECTIONS, MISTAKES))
    lines = (tmp_path / "correction_rates.csv").read_bytes().decode().split("\n")
    assert lines[0] == "source,level,mistakes,corrections,rate,low,high"
    assert lines[1].startswith("a,1,2,1,0.500000,")
    assert lines[-2].startswith("all,all,5,3,0.600000,")
    first = (tmp_path / "correction_rates.png").read_bytes()
    assert first[:4] == b"\x89PNG"
    write(tmp_path, rates([correction(number) for number in range(37)], all_right))
    assert (tmp_path / "correction_rates.png").read_bytes() != first


def test_nothing_to_draw(tmp_path: Path) -> None:
    write(tmp_path, rates([], []))
    assert (tmp_path / "correction_rates.csv").read_text() == "source,level,mistakes,corrections,rate,low,high\n"
    assert not (tmp_path / "correction_rates.png").exists()
