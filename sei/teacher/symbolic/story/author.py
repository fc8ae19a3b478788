"""An author: tells one story after another from outlines, in the register of the seeds.

Place in the flow: `synthesize` and `evolve` ask it for stories and for the drafts that these become.

Example::

    author = Author(random.Random(0), seeds)
    author.written(author.story(outline), seed)         # a Draft
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import lru_cache

from sei.arithmetic import format_number
from sei.steps import join_steps
from sei.teacher.base import Draft, Seed
from sei.teacher.symbolic.rewriting import check_solution
from sei.teacher.symbolic.story.check import agrees
from sei.teacher.symbolic.story.names import FEMALE, MALE, find_names
from sei.teacher.symbolic.story.outline import Node, cut, longer, nodes, shorter, size
from sei.teacher.symbolic.story.planner import Book, plan_story
from sei.teacher.symbolic.story.rules_flow import FLOW
from sei.teacher.symbolic.story.rules_money import MONEY
from sei.teacher.symbolic.story.rules_plain import OWN, PLAIN, facts, is_plain
from sei.teacher.symbolic.story.rules_things import THINGS
from sei.teacher.symbolic.story.scenes import SCENES
from sei.teacher.symbolic.story.tell import Person, Story, tell
from sei.teacher.symbolic.story.wish import Wish

_ALSO_WORDS = frozenset(
    "June Will Mark Bill Frank Rose Violet Iris Daisy Joy Grace Ivy Hazel Ruby Penny Ray Dean Bob".split()
)
_HARDER_SHARE, _HARDER_IN_PLAIN = 0.15, 0.05
_NO_WISH = Wish()
_VISIBLE = re.compile(r"\d\s*[-+*/x×]\s*\$?\d[^<>]*<<")  # a calculation written out before its annotation


@lru_cache(maxsize=1)
def _full_book() -> Book:
    return Book(SCENES, [*THINGS, *MONEY, *FLOW], plain=False)


class Author:
    """Tells stories with `rng`, in plain words if the seeds are told so."""

    def __init__(self, rng: random.Random, seeds: Sequence[Seed], *, plain: bool | None = None) -> None:
        self.rng = rng
        self.plain = is_plain([seed.question for seed in seeds]) if plain is None else plain
        self._names: list[str] = []
        self._book = _full_book()
        if self.plain:
            scenes = {fact.scene.name: fact.scene for seed in seeds for fact in facts(seed.question, seed.solution)}
            self._book = Book([OWN, OWN, *scenes.values()], PLAIN, plain=True)
            self._names = sorted({name for seed in seeds for name in find_names(seed.question)})

    def story(self, outline: Node, wish: Wish = _NO_WISH, *, bold: int = 0, harder: bool = False) -> Story | None:
        """A story with the operations of the outline, or, where no scene tells them all, with its last ones.

        The bolder, the sooner operations are left out or added, those of the wish first; `harder` means one more than the
        outline has.
        """
        rng = self.rng
        root, op = longer(outline, rng) if harder else outline, wish.op
        if not harder:
            if bold > 2 and rng.random() < 0.12 * bold:
                root = cut(root, rng, rng.randint(2, 3))
            if bold > 1 and wish.several and op in ("+", "-", "*"):
                root = Node(op, longer(cut(root, rng, 1), rng, op, last=True), Node(""))
            elif (
                bold > 1
                and op
                and (not root.op.endswith(op) if wish.last else not any(node.op.endswith(op) for node in nodes(root)))
            ):
                root = longer(cut(root, rng, 3), rng, op, last=wish.last)
            elif rng.random() < (0.4 if bold > 3 else _HARDER_IN_PLAIN if self.plain else _HARDER_SHARE):
                root = longer(root, rng)
        root = cut(root, rng)
        least = min(2, size(outline)) + harder
        while size(root) >= least:
            for _ in range(2):
                plan = plan_story(root, rng, self._book, wish.scale, wish.phrase)
                if plan is not None:
                    return tell(plan, rng, self._people())
            less = None if harder and size(root) <= size(outline) + 1 and size(outline) <= 5 else shorter(root, rng)
            if less is None:
                return None
            root = less
        return None

    def written(self, story: Story, seed: Seed) -> Draft | None:
        """The story as a draft, its solution written as the seed's is.

        None if it does not execute to its answer, or if the question, read again, has another one.
        """
        answer = format_number(story.answer)
        solution = join_steps(story.steps(visible=_VISIBLE.search(seed.solution) is not None), answer)
        if check_solution(solution, story.answer) is not None or agrees(story.question, answer) is False:
            return None
        return Draft(story.question, solution, answer, (seed.id,))

    def _people(self) -> list[Person]:
        """Four people with different names, the first two mostly a woman and a man."""
        rng = self.rng
        women, men = ([name for name in names if name not in _ALSO_WORDS] for names in (FEMALE, MALE))
        if self.plain:
            known_women = [name for name in self._names if name in FEMALE]
            known_men = [name for name in self._names if name in MALE]
            women, men = (known_women if len(known_women) > 1 else women), (known_men if len(known_men) > 1 else men)
        names = [*rng.sample(women, 2), *rng.sample(men, 2)]
        if (
            len({name[0] for name in names}) < len(names) and not self.plain
        ):  # names that begin alike are hard to tell apart
            return self._people()
        chosen = [Person(name, place < 2) for place, name in enumerate(names)]
        people = [chosen[0], chosen[2], chosen[1], chosen[3]] if rng.random() < 0.8 else chosen
        return people if rng.random() < 0.5 else people[::-1]
