"""A seed's own story with other numbers, names and things: for seeds in plain words alone.

Place in the flow: `synthesize` -> here, where the seeds are told in the few words of `story.rules_plain`. A small target
reads only the sentences that it was trained on: told by the planner alone, the embedded world's new problems lowered the target's
accuracy (docs/embedded.md). A number changes only where the question states it once, in every place that follows from
it; names and things change alike in question and solution. The mistake of the seed can be made in it, because nothing else
changes.

Example::

    retell(program, rng, names, near="the seeds' text")     # an Instance, or None
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from sei.teacher.symbolic.program import Instance, Program
from sei.teacher.symbolic.story.names import EITHER, FEMALE, MALE, find_names

# Things that can stand for each other where only their number matters: singular, plural.
_GROUPS: tuple[tuple[tuple[str, str], ...], ...] = tuple(
    tuple((pair.partition("/")[0], pair.partition("/")[2] or pair + "s") for pair in group.split())
    for group in (
        "apple pear plum orange lemon mango banana peach/peaches fig lime apricot kiwi coconut melon",
        "cookie cupcake muffin brownie donut cracker pretzel pastry/pastries bagel biscuit",
        "pencil pen crayon marker eraser ruler notebook folder envelope",
        "marble sticker card coin stamp toy ball button bead badge shell pebble",
        "hat shirt scarf/scarves sweater jacket sock glove belt cap dress/dresses",
        "rose tulip daisy/daisies lily/lilies orchid sunflower violet",
        "cup plate bowl spoon fork mug",
        "dog cat rabbit hamster goat horse cow sheep/sheep pig duck hen",
        "car truck van bicycle scooter motorcycle",
        "carrot potato/potatoes tomato/tomatoes onion cucumber pumpkin turnip radish/radishes",
        "book magazine novel comic",
        "chair stool bench/benches lamp",
    )
)
_SAFE_TOGETHER = (0, 2, 3, 6)  # groups of small things; combined if no verb tells what is done with them
_TELLING_VERBS = re.compile(
    r"\b(?:eat|ate|bak|cook|pick|plant|read|writ|wear|wore|grow|drink|drank|slic|peel|tree|juic|draw|color|pag|stor[ey]|"
    r"ride|driv|feed|milk|lay|pot|pie|salad|soup|bite|chew|ripe|orchard|garden|farm)",
    re.IGNORECASE,
)


def retell(program: Program, rng: random.Random, names: Sequence[str], text: str) -> Instance | None:
    """The seed with other numbers, and with names and things that the seeds' `text` has; None without sensible numbers."""
    values = program.draw(rng)
    instance = program.instantiate(values) if values is not None else None
    if instance is None:
        return None
    words = _new_names(program.question, rng, names) | new_things(program.question, rng, only=text)
    question, *steps = replace_words([instance.question, *instance.steps], words)
    return Instance(question, tuple(steps), instance.answer)


def _new_names(text: str, rng: random.Random, known: Sequence[str]) -> dict[str, str]:
    """Another of the `known` names, of the same gender, for every name of the text; a name of either gender stays."""
    mine = find_names(text)
    chosen: dict[str, str] = {}
    for name in mine:
        pool = FEMALE if name in FEMALE else MALE
        free = [
            other for other in known if other in pool and other not in EITHER and other not in {*mine, *chosen.values()}
        ]
        if name not in EITHER and free:
            chosen[name] = rng.choice(free)
    return chosen


def new_things(text: str, rng: random.Random, only: str | None = None) -> dict[str, str]:
    """Other things of the same group for the things in the text, in singular and plural.

    `only` is a text that limits them to the things it mentions.
    """
    allowed = None if only is None else set(re.findall(r"[a-z]+", only.lower()))
    lowered = set(re.findall(r"[a-z]+", text.lower()))
    free = _TELLING_VERBS.search(text) is None
    chosen: dict[str, str] = {}
    used = set(lowered)
    for index, group in enumerate(_GROUPS):
        others = (
            [pair for i in _SAFE_TOGETHER for pair in _GROUPS[i]] if free and index in _SAFE_TOGETHER else list(group)
        )
        for singular, plural in group:
            if not {singular, plural} & lowered or _is_compound(singular, plural, text):
                continue
            options = [pair for pair in others if not set(pair) & used and (allowed is None or pair[1] in allowed)]
            if options:
                new_singular, new_plural = rng.choice(options)
                chosen |= {singular: new_singular, plural: new_plural}
                used |= {new_singular, new_plural}
    return chosen


def _is_compound(singular: str, plural: str, text: str) -> bool:
    """Whether the thing is part of a longer name ("apple pie", "baseball card", "ball bearings")."""
    after = rf"\b(?:{singular})\s(?!(?:and|or|is|are|in|on|at|for|to|from|with|of|that|than|each|has|costs?|per|as|was)\b)[a-z]"
    return (
        re.search(after, text, re.IGNORECASE) is not None
        or re.search(rf"[a-z]-(?:{singular}|{plural})", text) is not None
    )


def replace_words(texts: Sequence[str], words: dict[str, str]) -> list[str]:
    """All `words` replaced at once in every text; capitals are kept, and "a" or "an" before them is adapted."""
    if not words:
        return list(texts)
    longest = sorted(words, key=len, reverse=True)
    pattern = re.compile(
        rf"(?:\b(?P<article>[Aa]n?) )?\b(?P<word>{'|'.join(map(re.escape, longest))})\b", re.IGNORECASE
    )

    def replace(match: re.Match[str]) -> str:
        old = match["word"]
        new = words.get(old) or words.get(old.lower())
        if new is None:
            return match[0]
        if old not in words and old[0].isupper():
            new = new.capitalize()
        if match["article"] is None:
            return new
        return f"{match['article'][0]}{'n' if new[0].lower() in 'aeiou' else ''} {new}"

    return [pattern.sub(replace, text) for text in texts]
