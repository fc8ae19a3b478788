"""Writes new problems for an error type from the programs of its mistakes.

Place in the flow: error type + seeds -> drafts. A seed's solution is read as an outline of operations; the outline is told as a
story in another scene, with numbers of its own; and the type's own mistake must be possible in it (`story.aim`). A draft too
like a seed or an earlier draft is not touched up: another story is told. Question and solution come from one plan,
the solution is executed, and `story.check` reads the question again.

Example::

    synthesize(request)[0].answer
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sei.arithmetic import format_number
from sei.data.overlap import SimilarityFilter
from sei.records import Rejected
from sei.teacher.base import Draft, Seed, SynthesisRequest
from sei.teacher.symbolic.quantities import read_quantities
from sei.teacher.symbolic.story.aim import possible, wanted
from sei.teacher.symbolic.story.author import Author
from sei.teacher.symbolic.story.check import agrees
from sei.teacher.symbolic.story.outline import Node, read_outline
from sei.teacher.symbolic.story.tell import Story

_TRIES = 10  # stories told for one draft
_GOOD, _PATIENCE = 2, 3  # an aim's score that ends the search, for so many stories: the mistake has its name but for the goal


@dataclass(frozen=True)
class Source:
    """A seed and the outline of its solution."""

    seed: Seed
    outline: Node
    largest: Fraction  # of the numbers in its question


def synthesize(request: SynthesisRequest) -> list[Draft | Rejected]:
    """Up to `count` drafts, a Rejected for each draft that is missing, and one for each seed that cannot be used at all."""
    rng = random.Random(request.seed)
    seeds = [*request.mistakes, *request.synthesized]
    output: list[Draft | Rejected] = []
    sources: list[Source] = []
    for seed in seeds:
        outline = read_outline(seed.question, seed.solution, seed.answer)
        if isinstance(outline, str):
            output.append(Rejected.make(seed.id, outline, "the seed's solution cannot be read as a program", seed.solution))
        else:
            largest = max((quantity.value for quantity in read_quantities(seed.question)), default=Fraction(0))
            sources.append(Source(seed, outline, largest))
    if not sources:
        return output
    similar = SimilarityFilter(request.rouge_threshold, [seed.question for seed in seeds])
    author = Author(rng, seeds)
    order = rng.sample(sources, len(sources))
    phrases = _telling(request)
    for place in range(request.count):
        output.append(_draft(author, order[place % len(order)], phrases, similar, rng))
    return output


def _telling(request: SynthesisRequest) -> Sequence[str]:
    """The keyphrases that have what the type's name says ("divides ... instead of multiplying"); all, where none has."""
    parts = request.name.split(" ... ")
    return [phrase for phrase in request.keyphrases if all(part in phrase for part in parts)] or request.keyphrases


def _one_of(phrases: Sequence[str], rng: random.Random) -> str:
    """A keyphrase of the type, the more frequent ones more often (they come in that order)."""
    return rng.choices(phrases, weights=[1 / (place + 3) for place in range(len(phrases))])[0] if phrases else ""


def _scale(source: Source, author: Author, phrase: str) -> int:
    """How many times as large as usual the numbers may be: as large as the mistake needs them, in plain words as the seed's."""
    if "three-digit" in phrase or "large numbers" in phrase or "thousands" in phrase:
        return 4
    return 2 if author.plain and source.largest > 30 else 1


def _draft(
    author: Author, source: Source, phrases: Sequence[str], similar: SimilarityFilter, rng: random.Random
) -> Draft | Rejected:
    """The best aimed of a few stories, unlike everything in `similar`, to which it is then added."""
    best: tuple[int, Story] | None = None
    phrase = _one_of(phrases, rng)
    reason, question = "no_story", source.seed.question
    for attempt in range(_TRIES):
        if attempt == _TRIES // 2:
            phrase = _one_of(phrases, rng)  # another mistake of the type
        op, last = wanted(phrase)
        story = author.story(source.outline, bold=attempt, op=op, last=last, several="several numbers" in phrase, scale=_scale(source, author, phrase), phrase=phrase)
        if story is None:
            continue
        question = story.question
        if similar.check(question) is not None:
            reason = "too_similar"
            continue
        if agrees(story.question, format_number(story.answer)) is False:
            reason = "question_says_otherwise"
            continue
        score = possible(story, phrase, phrases).score
        if score > (best[0] if best else 0):
            best = (score, story)
        elif best is None:
            reason = "mistake_not_possible"
        if score >= (_GOOD if attempt < _PATIENCE else 1):
            break
    if best is None:
        return Rejected.make(source.seed.id, reason, f"after {_TRIES} tries, for: {phrase}", question)
    story = best[1]
    similar.add(story.question)
    return author.written(story, source.seed) or Rejected.make(source.seed.id, "draft_does_not_execute", raw=question)
