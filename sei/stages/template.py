"""Template: the teacher turns gold solutions into thought templates.

Place in the flow: problems -> **thought templates** -> training examples (SuperCorrect's first stage, arXiv 2410.09008, section
4.1). A template is kept only if its answer is graded correct and, where there is an inspector, after it is called right.

Example::

    template(problems, teacher, template_style="xml", style="gsm8k").records[0].text
"""

from __future__ import annotations

from collections.abc import Sequence

from sei.answers import Style, grade_many
from sei.records import Problem, Rejected, Template, Verdict, content_id
from sei.stage import Output, stage
from sei.stages.inspect import ROUNDS, Inspected, rounds_needed, until_right
from sei.teacher.review import Author, Inspector
from sei.templates import WITH_KEYS, TemplateStyle, ThoughtTemplate, marked, write


@stage(Template, "templates")
def template(
    problems: Sequence[Problem],
    author: Author,
    *,
    template_style: TemplateStyle,
    style: Style,
    inspector: Inspector | None = None,
    rounds: int = ROUNDS,
) -> Output[Template]:
    """One template a problem, written in `template_style`. Rejected are what the author could not write (its reasons),
    what stays faulty (`still_faulty`), and templates whose answer is not the gold answer (`answer_<verdict>`)."""
    rejected: list[Rejected] = []
    written: list[tuple[Problem, ThoughtTemplate]] = []
    for problem, result in zip(problems, author.template(problems), strict=True):
        if isinstance(result, Rejected):
            rejected.append(result)
        else:
            written.append((problem, result))
    numbers: dict[str, int] = {}
    if inspector is not None:
        subjects = [problem for problem, _ in written]
        results = until_right(
            [version for _, version in written],
            [problem.id for problem in subjects],
            lambda indices, versions: inspector.inspect_templates([subjects[index] for index in indices], versions),
            lambda indices, revisions: author.template([subjects[index] for index in indices], revisions),
            rounds,
        )
        numbers = rounds_needed(results)
        rejected += [result for result in results if isinstance(result, Rejected)]
        pairs = zip(subjects, results, strict=True)
        written = [(problem, result.version) for problem, result in pairs if isinstance(result, Inspected)]
    verdicts = grade_many([(marked(version.answer, style), problem.answer) for problem, version in written], style)
    kept = []
    for (problem, version), verdict in zip(written, verdicts, strict=True):
        text = write(version, template_style)
        if verdict is Verdict.CORRECT:
            hard = version.hard if template_style in WITH_KEYS else ()
            kept.append(Template(content_id("template", problem.id, text), problem.id, text, version.answer, hard))
        else:
            rejected.append(Rejected.make(problem.id, f"answer_{verdict}", raw=text))
    return Output(kept, received=len(problems), rejected=rejected, numbers=numbers)
