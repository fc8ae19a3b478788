"""SuperCorrect (arXiv 2410.09008): hierarchical thought templates, then cross-model preference training on the first wrong step.

Place in the flow: `train.py` runs this for `recipe=supercorrect`. Two phases, on two parts of the training problems::

    templates = teacher(gold solution in steps, hard ones explained, the approach in general)     # hard: measured
    student = train(templates)                                                                     # HSFT
    mistakes = wrong templates of the student at the other problems
    teacher traces = teacher(first wrong step, cause, correction), inspected;  student traces = student(the same, without gold)
    adapter = DPO(problem and right steps -> the teacher's thought before the student's), reference = the student

At the end the target may check and correct its solutions in a second pass (`eval.passes=2`).
"""

from __future__ import annotations

from sei.recipes.kit import Kit, require_mistakes
from sei.recipes.resources import Adapter
from sei.recipes.results import Results
from sei.recipes.thought_kit import ThoughtKit
from sei.records import Mistake, Problem
from sei.stages import assemble

STEPS = (
    "problems",
    "validation.attempts",
    "validation.mistakes",
    "validation.diagnoses",
    "templates",
    "student",
    "attempts",
    "mistakes",
    "traces",
    "traces.inspected",
    "student_traces",
    "student_thoughts",
    "pairs",
    "adapter",
)


def run(kit: Kit) -> Results:
    """Both phases, evaluated before the first and after the last."""
    with ThoughtKit.of(kit) as kit:
        taught, probed = assemble.halve(kit.problems, kit.config.recipe.templates.share, seed=kit.config.seed)
        student = teach(kit, taught)
        attempts = kit.attempt(probed, student, sampling=kit.thought_sampling, thoughts=kit.thoughts)
        mistakes = kit.mine(probed, attempts)
        adapter = student
        if kit.config.recipe.preference.kind != "none" and require_mistakes(mistakes, kit.display):
            adapter = prefer(kit, mistakes, student)
        return kit.locate(kit.finish(Results(), adapter, kit.thoughts), student)


def teach(kit: ThoughtKit, problems: list[Problem]) -> Adapter:
    """The first phase: the target learns to write the teacher's thought templates."""
    templates = kit.template(problems, kit.hard_steps())
    rows = assemble.from_templates(templates, problems, kit.thoughts)
    return kit.finetune([*rows, *kit.check_rows(problems, templates)], name="student")


def prefer(kit: ThoughtKit, mistakes: list[Mistake], student: Adapter) -> Adapter:
    """The second phase: the teacher's thoughts before the student's own, or the baseline that the configuration names."""
    kind = kit.config.recipe.preference.kind
    teacher_traces = kit.trace(mistakes)
    student_traces = kit.student_traces(mistakes, student)
    student_traces = kit.student_thoughts(mistakes, teacher_traces, student_traces, student)
    pairs = kit.pair(mistakes, teacher_traces, student_traces, "thought" if kind == "sft" else kind)
    if not pairs:
        kit.display.note("No pair to train on: the student is the result.")
        return student
    return kit.imitate(pairs, student) if kind == "sft" else kit.prefer(pairs, student)
