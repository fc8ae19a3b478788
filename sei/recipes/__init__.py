"""Recipes: one module a method, each a function `run(kit)` that reads like the paper's algorithm box."""

from __future__ import annotations

from types import ModuleType

from sei.recipes import cot, learning_from_mistakes, self_error_instruct, self_instruct, super_correct

RECIPES: dict[str, ModuleType] = {
    "cot": cot,
    "correction": learning_from_mistakes,
    "sei": self_error_instruct,
    "self_instruct": self_instruct,
    "supercorrect": super_correct,
}
"""`recipe.name` -> its module: `run(kit)`, and `STEPS`, the stages of a round in order (a test compares them)."""
