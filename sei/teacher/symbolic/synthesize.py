"""Writes new problems for an error type from the programs of its mistakes.

Place in the flow: error type + seeds -> drafts. A seed's solution is read as an outline of operations; the outline is told as a
story in another scene, with numbers of its own; and the type's own mistake must be possible in it (`story.aim`). A draft too
like a seed or an earlier draft is not touched up: another story is told. Question and solution come from one plan,
the solution is executed, and `story.check` reads the question again. Seeds in plain words are mostly told again with other
numbers, names and things instead (`retell`, which says why).

Example::

    synthesize(request)[0].answer
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

from sei.arithmetic import format_number
from sei.data.overlap import SimilarityFilter
from sei.records import Rejected
from sei.steps import join_steps
from sei.teacher.base import Draft, Seed, SynthesisRequest
from sei.teacher.symbolic.program import Program, read_program
from sei.teacher.symbolic.quantities import read_quantities
from sei.teacher.symbolic.retell import retell
from sei.teacher.symbolic.rewriting import check_solution
from sei.teacher.symbolic.story.aim import possible
from sei.teacher.symbolic.story.author import Author
from sei.teacher.symbolic.story.check import agrees
from sei.teacher.symbolic.story.names import find_names
from sei.teacher.symbolic.story.outline import Node, read_outline
from sei.teacher.symbolic.story.tell import Story
from sei.teacher.symbolic.story.wish import Wish

_TRIES = 10  # stories told for one draft
_GOOD, _PATIENCE = (
    2,
    3,
)  # an aim's score that ends the search, for so many stories: the mistake has its name but for the goal
_RETOLD = 0.9  # of the drafts from seeds in plain words


@dataclass(frozen=True)
class Source:
    """A seed, the outline of its solution, and its program if it is in plain words and can be told again."""

    seed: Seed
    outline: Node
    largest: Fraction  # of the numbers in its question
    program: Program | None = None


def synthesize(request: SynthesisRequest) -> list[Draft | Rejected]:
    """Up to `count` drafts, a Rejected for each draft that is missing, and one for each seed that cannot be used at all."""
    seeds = [*request.mistakes, *request.synthesized]
    author = Author(random.Random(request.seed), seeds)
    output: list[Draft | Rejected] = []
    sources: list[Source] = []
    for seed in seeds:
        outline = read_outline(seed.question, seed.solution, seed.answer)
        if isinstance(outline, str):
            output.append(
                Rejected.make(seed.id, outline, "the seed's solution cannot be read as a program", seed.solution)
            )
            continue
        largest = max((quantity.value for quantity in read_quantities(seed.question)), default=Fraction(0))
        program = read_program(seed.question, seed.solution, seed.answer) if author.plain else None
        sources.append(Source(seed, outline, largest, program if isinstance(program, Program) else None))
    if sources:
        writer = _Writer(request, author)
        order = author.rng.sample(sources, len(sources))
        output += [writer.draft(order[place % len(order)]) for place in range(request.count)]
    return output


class _Writer:
    """Writes the drafts of one request."""

    def __init__(self, request: SynthesisRequest, author: Author) -> None:
        seeds = [*request.mistakes, *request.synthesized]
        self._author, self._rng = author, author.rng
        self._similar = SimilarityFilter(request.rouge_threshold, [seed.question for seed in seeds])
        self._text = " ".join(seed.question for seed in seeds)
        # What the type's name says ("divides ... instead of multiplying") goes before what else lies in the type.
        parts = request.name.split(" ... ")
        telling = [phrase for phrase in request.keyphrases if all(part in phrase for part in parts)]
        self._phrases = telling or list(request.keyphrases)

    def draft(self, source: Source) -> Draft | Rejected:
        """A draft unlike all before it."""
        retold = None
        if source.program is not None and self._rng.random() < _RETOLD:
            retold = self._retold(source.seed, source.program)
        return retold or self._told(source)

    def _retold(self, seed: Seed, program: Program) -> Draft | None:
        instance = retell(program, self._rng, find_names(self._text), self._text)
        if instance is None or self._similar.check(instance.question) is not None:
            return None
        answer = format_number(instance.answer)
        solution = join_steps(list(instance.steps), answer)
        if check_solution(solution, instance.answer) is not None or agrees(instance.question, answer) is False:
            return None
        self._similar.add(instance.question)
        return Draft(instance.question, solution, answer, (seed.id,))

    def _told(self, source: Source) -> Draft | Rejected:
        """The best aimed of a few stories."""
        best: tuple[int, Story] | None = None
        reason, question, phrase = "no_story", source.seed.question, ""
        for attempt in range(_TRIES):
            if attempt in (0, _TRIES // 2):
                phrase = self._phrase()
                wish = Wish.of(phrase, scale=2 if self._author.plain and source.largest > 30 else 1)
            story = self._author.story(source.outline, wish, bold=attempt)
            if story is None:
                continue
            question = story.question
            if self._similar.check(question) is not None:
                reason = "too_similar"
            elif agrees(question, format_number(story.answer)) is False:
                reason = "question_says_otherwise"
            else:
                score = possible(story, phrase, self._phrases).score
                reason = "mistake_not_possible"
                if score > (best[0] if best else 0):
                    best = (score, story)
                if score >= (_GOOD if attempt < _PATIENCE else 1):
                    break
        if best is None:
            return Rejected.make(source.seed.id, reason, f"after {_TRIES} tries, for: {phrase}", question)
        self._similar.add(best[1].question)
        written = self._author.written(best[1], source.seed)
        return written or Rejected.make(source.seed.id, "draft_does_not_execute", raw=best[1].question)

    def _phrase(self) -> str:
        """A keyphrase of the type, the more frequent ones more often (they come in that order)."""
        weights = [1 / (place + 3) for place in range(len(self._phrases))]
        return self._rng.choices(self._phrases, weights)[0] if self._phrases else ""
