"""Names, things and phrases: the words of synthesized problems.

Place in the flow: `synthesize` changes the numbers of a seed, this module its words, in the same way in question and
solution. The word lists and the phrase table are ours; every rule keeps a question's meaning.

Example::

    replace_words(["Ann has 3 apples."], {"Ann": "Mia", "apples": "pears"})    # ["Mia has 3 pears."]
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterable, Sequence

_FEMALE = (
    "Abby Ada Alice Amanda Amber Amelia Amy Ana Andrea Angela Anita Ann Anna Annie Audrey Ava Becca Bella Beth Betty "
    "Brenda Brooke Camila Cara Carla Carmen Carol Carrie Cathy Celine Chloe Christina Cindy Claire Clara Cora Daisy Dana "
    "Debbie Diana Diane Donna Dora Elena Elise Ella Ellen Emily Emma Erica Erin Esther Eva Eve Fatima Fiona Flora Gina "
    "Gloria Grace Greta Hana Hanna Hannah Hazel Heather Heidi Helen Holly Ida Irene Iris Isabel Ivy Jackie Jane Janet "
    "Jenna Jennifer Jenny Jessica Jill Joan Joanna Josie Joy Joyce Judy Julia Julie June Kara Karen Kate Katie Kayla Kelly "
    "Lara Laura Lena Leila Lila Lily Linda Lisa Lola Lucia Lucy Luna Maggie Mara Margaret Maria Marie Martha Mary Maya "
    "Megan Melissa Mia Michelle Mila Molly Monica Nadia Nancy Naomi Natalie Nina Nora Olga Olivia Paige Pam Patricia Paula "
    "Penny Rachel Rebecca Rita Rosa Rose Ruby Ruth Sally Samantha Sandra Sara Sarah Selena Sofia Sonia Sophia Sophie "
    "Stella Susan Sylvia Tanya Tara Teresa Tina Tracy Una Valerie Vanessa Vera Victoria Violet Wanda Wendy Yara Zoe"
).split()
_MALE = (
    "Aaron Adam Alan Albert Alfred Andrew Andy Anthony Antonio Arnold Arthur Ben Benjamin Bill Bob Bobby Boris Brad Brandon "
    "Brian Bruce Bryan Calvin Carl Carlos Cecil Charles Charlie Chris Colin Craig Dan Daniel Dave David Dean Dennis Derek "
    "Diego Don Donald Doug Dylan Eddie Edgar Eduardo Edward Elias Eli Eric Ethan Evan Felix Finn Frank Fred Gabriel Gary "
    "Gavin George Gerald Gilbert Greg Hank Harold Harry Harvey Hector Henry Howard Hugo Ian Igor Isaac Ivan Jack Jacob "
    "Jake James Jared Jason Jeff Jeremy Jerry Jim Jimmy Joe Joel John Johnny Jonah Jonathan Jorge Jose Joseph Josh Joshua "
    "Juan Justin Karl Keith Ken Kenneth Kenny Kevin Kurt Kyle Larry Leo Leon Liam Logan Louis Lucas Luis Luke Marcus Mario "
    "Mark Martin Marvin Matt Matthew Max Michael Miguel Mike Milo Nathan Neil Nick Noah Oliver Omar Oscar Otto Owen Pablo "
    "Patrick Paul Pedro Pete Peter Phil Philip Rafael Ralph Ray Raymond Ricardo Richard Rick Rob Robert Roger Ron Ronald "
    "Ryan Samuel Saul Scott Sean Seth Simon Stan Stephen Steve Steven Stuart Ted Terrence Thomas Tim Timothy Toby Todd Tom "
    "Tommy Tony Tyler Victor Vincent Walter Wayne Will William Xavier Zach"
).split()
_EITHER = "Alex Casey Jamie Jordan Kim Max Morgan Pat Robin Sam Taylor Terry".split()
_FEMALES, _MALES, _EITHERS = frozenset(_FEMALE), frozenset(_MALE), frozenset(_EITHER)

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
_NOT_NAMES = frozenset(
    "The She He They It There Each Every Everyone If Her His Their Mr Mrs Ms Dr Miss This That These Those What Who Today "
    "Yesterday Tomorrow Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July "
    "August September October November December Mom Dad Mother Father Grandma Grandpa Aunt Uncle One Two Three Four Five "
    "Another Money After Before When While How His Its Our Your My Someone Everybody Nobody Half Class School City Street "
    "Christmas Halloween Easter Thanksgiving Team Group Store Shop Company Park Last Next First Second Third Now Then".split()
)
_SUBJECT = re.compile(
    r"\b([A-Z][a-z]{2,})(?=['’]s\b| (?:has|had|is|was|buys|bought|wants|needs|went|gets|got|earns|makes|made|spends|spent"
    r"|sells|sold|can|decides|decided|eats|ate|works|runs|ran|takes|took|gives|gave|and [A-Z]))"
)


def find_names(text: str) -> list[str]:
    """First names in the text, in order: known ones, and capitalized subjects that are not common words."""
    words = re.findall(r"\b[A-Z][a-z]+\b", text)
    subjects = set(_SUBJECT.findall(text)) - _NOT_NAMES
    found = [
        word
        for word in words
        if word in _FEMALES
        or word in _MALES
        or word in _EITHERS
        or (word in subjects and not re.search(rf"\b{word.lower()}\b", text))
    ]
    return [word for word in dict.fromkeys(found) if not (word in _NOT_NAMES and word not in subjects)]


def _gender(name: str, text: str) -> str:
    female, male = (
        bool(re.search(r"\b(?:she|her|hers)\b", text, re.I)),
        bool(re.search(r"\b(?:he|him|his)\b", text, re.I)),
    )
    if name in _EITHERS or not (name in _FEMALES or name in _MALES):
        return "female" if female and not male else "male" if male and not female else "" if not male else "keep"
    return "female" if name in _FEMALES else "male"


def new_names(
    text: str, rng: random.Random, taken: Iterable[str], known: Sequence[str] = (), *, near: bool = False
) -> dict[str, str]:
    """A new name of the same gender for every first name of the text, none of them twice or in `taken`.

    `known` names (those of the seeds) are used more often than others, and with `near` as long as there are any left, so
    that drafts stay close to their seeds.
    """
    names = find_names(text)
    used = {*names, *taken}
    chosen: dict[str, str] = {}
    for name in names:
        gender = _gender(name, text)
        if gender == "keep":
            continue
        pool = {"female": _FEMALE, "male": _MALE, "": [*_FEMALE, *_MALE]}[gender]
        familiar = [other for other in known if other not in used and (not gender or other in pool)]
        others = [other for other in pool if other not in used]
        chosen[name] = rng.choice(familiar if familiar and (near or rng.random() < 0.6) else others)
        used.add(chosen[name])
    return chosen


def some_name(rng: random.Random, text: str) -> str:
    """A first name that does not occur in the text."""
    return rng.choice([name for name in [*_FEMALE, *_MALE] if name not in text])


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


_PHRASES: tuple[tuple[str, tuple[str, ...]], ...] = (  # a pattern, and what may stand in its place
    (r"\bin total\b", ("altogether", "in all", "overall")),
    (r"\baltogether\b", ("in total", "in all")),
    (r"\bin all\b", ("in total", "altogether")),
    (r"\bwants to buy\b", ("would like to get", "plans to purchase", "is going to buy")),
    (r"\bwants to\b", ("would like to", "hopes to", "plans to")),
    (r"\bdecided to\b", ("chose to", "made a plan to")),
    (r"\bdecides to\b", ("chooses to", "makes a plan to")),
    (r"\bbought\b", ("purchased", "picked up")),
    (r"\bbuys\b", ("purchases", "picks up")),
    (r"\bpurchased\b", ("bought", "got")),
    (r"\bpurchases\b", ("buys", "gets")),
    (r"\bbuying\b", ("purchasing", "getting")),
    (r"\bneeds to\b", ("has to", "must")),
    (r"\bhas to\b", ("needs to", "must")),
    (r"\bevery day\b(?! of)", ("each day", "daily")),
    (r"\beach day\b(?! of)", ("every day", "daily")),
    (r"(?<!during )(?<!of )(?<!after )(?<!in )\bevery week\b", ("each week", "weekly")),
    (r"(?<!during )(?<!of )(?<!after )(?<!in )\bevery month\b", ("each month", "monthly")),
    (r"(?<!during )(?<!of )(?<!after )(?<!in )\beach week\b", ("every week", "weekly")),
    (r"(?<!in )(?<!during )(?<!after )(?<!for )\ba day\b(?! (?:before|after))", ("per day", "each day")),
    (r"\bper day\b", ("a day", "each day", "every day")),
    (r"\bper week\b", ("a week", "each week", "every week")),
    (r"\bper hour\b", ("an hour", "each hour", "for every hour")),
    (r"(?<!in )(?<!half )(?<!after )(?<!for )\ban hour\b", ("per hour", "each hour")),
    (r"(?<!in )(?<!during )(?<!after )(?<!for )\ba week\b(?! (?:before|after|ago))", ("per week", "each week")),
    (r"\bas well as\b", ("and also", "along with")),
    (r"\bthe total cost of\b", ("the full price of", "the overall cost of")),
    (r"\bthe total number of\b", ("the overall number of", "the combined count of")),
    (r"\bcosts\b(?= \$)", ("is priced at", "sells for")),
    (r"\bare sold for\b", ("go for", "are priced at")),
    (r"\beach cost\b", ("are each priced at",)),
    (r"\bgot paid\b", ("was paid", "received")),
    (r"\bis paid\b", ("gets", "receives")),
    (r"\bearns\b", ("makes", "is paid", "takes home")),
    (r"\bearned\b", ("made", "was paid", "took home")),
    (r"\bspends\b", ("uses", "uses up")),
    (r"\bgives away\b", ("hands out", "parts with")),
    (r"\bgave away\b", ("handed out", "parted with")),
    (r"\bliving in\b", ("who live in",)),
    (r"\bstarts with\b", ("begins with", "has at first")),
    (r"\bstarted with\b", ("began with", "had at first")),
    (r"\bto begin with\b", ("at the start", "at first")),
    (r"\bat first\b", ("in the beginning", "at the start")),
    (r"\boriginally\b", ("at first", "in the beginning")),
    (r"\binitially\b", ("at first", "to start with")),
    (r"\bnow has\b", ("at this point has",)),
    (r"\bthere are\b", ("we find",)),
    (r"\bthere were\b", ("we found",)),
    (r"\bif (?=[A-Z])", ("given that ", "supposing that ", "assuming that ")),
    (r"\bcalculate\b", ("find", "work out", "determine")),
    (r"\bhow much money\b", ("how many dollars", "what amount of money")),
    (r"\bin addition\b", ("besides", "on top of that")),
    (r"\bexactly\b", ("precisely",)),
    (r"\baverage of\b", ("mean of",)),
    (r"\bchildren\b", ("kids", "youngsters")),
    (r"\bkids\b", ("children", "youngsters")),
    (r"\bthe store\b", ("the shop", "a nearby shop")),
    (r"\bthe shop\b", ("the store", "a nearby store")),
    (r"\ba store\b", ("a shop",)),
    (r"\bhouse\b", ("home",)),
    (r"\bgoes to\b", ("heads to", "visits")),
    (r"\bwent to\b", ("headed to", "visited")),
    (r"\bin the morning\b", ("during the morning", "early in the day")),
    (r"\bin the afternoon\b", ("during the afternoon", "after lunch")),
    (r"\bin the evening\b", ("during the evening", "after dinner")),
    (r"\bthe rest\b", ("what remains", "all the others")),
    (r"\bbig\b", ("large",)),
    (r"\blarge\b", ("big",)),
    (r"\bsmall\b", ("little",)),
    (r"\bshe is\b", ("she's",)),
    (r"\bhe is\b", ("he's",)),
    (r"(?<!, )\bthen\b", ("after that", "next")),
    (r"\beach of\b", ("every one of",)),
    (r"\bafter that\b", ("then", "afterwards")),
    (r"\bcollected\b", ("gathered",)),
    (r"\bcollects\b", ("gathers",)),
    (r"\bare left\b", ("remain",)),
    (r"\bwere left\b", ("remained",)),
)
_PHRASE_RULES = tuple((re.compile(pattern, re.IGNORECASE), options) for pattern, options in _PHRASES)


def paraphrase(question: str, rng: random.Random, share: float) -> str:
    """Phrases replaced by others of the same meaning, each with probability `share`."""
    for pattern, options in _PHRASE_RULES:
        if rng.random() >= share or not pattern.search(question):
            continue
        option = rng.choice(options)

        def replace(match: re.Match[str], option: str = option) -> str:
            text = match.expand(option)
            return text[0].upper() + text[1:] if match[0][0].isupper() else text

        question = pattern.sub(replace, question)
    return question


_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z$\d\"“])")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|vs|No|a\.m|p\.m|oz|lb|lbs)\.$")
_LEANS = re.compile(
    r"\b(?:he|she|it|they|him|her|his|hers|its|their|them|this|that|these|those|then|after|before|also|rest|remaining|left|"
    r"other|others|another|same|more|fewer|less|than|so|but|however|later|next|finally|instead|again|too|both|each|now|"
    r"such|former|latter|first|second|third|total|all|of)\b",
    re.IGNORECASE,
)


def sentences(text: str) -> list[str]:
    """The sentences of a text; a full stop after a title or unit does not end one."""
    parts: list[str] = []
    for part in _SENTENCE.split(text.strip()):
        if parts and _ABBREVIATION.search(parts[-1]):
            parts[-1] += " " + part
        else:
            parts.append(part)
    return parts


def reorder(question: str, rng: random.Random) -> str:
    """Neighbouring sentences that do not refer to an earlier one are swapped."""
    parts = sentences(question)
    free = [index for index, part in enumerate(parts) if part.endswith(".") and not _LEANS.search(part)]
    for first, second in itertools.pairwise(free):
        if second == first + 1 and first > 0 and rng.random() < 0.7:
            parts[first], parts[second] = parts[second], parts[first]
    return " ".join(parts)


_OPENINGS = (
    "Here is a small puzzle about numbers.",
    "Read the following story with care.",
    "Think about this situation.",
    "{name} told this story at school.",
    "This comes from {name}'s notebook.",
    "{name} asks you for help with a sum.",
)
_ASKS = (
    "The thing to find out is this: {ask}",
    "From what was said, work out the answer: {ask}",
    "Knowing all of this, {lower}",
    "Use only what you were told. {ask}",
    "Can you tell: {lower}",
    "{name} would like to know: {lower}",
)
_ASK_FIRST = (
    "{ask} To answer, use what follows. {facts}",
    "{ask} This is what is known. {facts}",
    "We ask: {lower} These are the facts. {facts}",
    "Find out the following: {lower} Here is the story. {facts}",
)
_PRONOUN = re.compile(
    r"\b(?:he|she|they|his|her|their|it|this|that|these|those|him|them|its|left|the rest)\b", re.IGNORECASE
)


def reframe(question: str, rng: random.Random) -> str:
    """Another opening, another way to ask, or the question before the facts."""
    parts = sentences(question)
    if len(parts) < 2 or not parts[-1].endswith("?") or any("?" in part for part in parts[:-1]):
        return question
    facts, ask = " ".join(parts[:-1]), parts[-1]
    starts_lower = not find_names(ask.split()[0]) and ask[0].isalpha()
    lower = ask[0].lower() + ask[1:] if starts_lower else ask
    name = some_name(rng, question)
    choices: list[Callable[[], str]] = [
        lambda: f"{rng.choice(_OPENINGS).format(name=name)} {facts} {ask}",
        lambda: f"{facts} {rng.choice(_ASKS).format(ask=ask, lower=lower, name=name)}",
    ]
    people = find_names(facts)
    standalone = ask
    if len(people) == 1:
        standalone = re.sub(r"\b(?:he|she)\b", people[0], ask, count=1)
    lower_standalone = standalone[0].lower() + standalone[1:] if starts_lower else standalone
    if not _PRONOUN.search(standalone) and re.match(r"(?:How|What)\b", standalone):
        first = rng.choice(_ASK_FIRST)
        moved = first.format(ask=standalone, lower=lower_standalone, facts=facts)
        choices += [lambda: moved] * 3
    return rng.choice(choices)()


_ASIDES: tuple[tuple[str, str, tuple[int, int]], ...] = (  # sentence, words that rule it out, range of its number
    ("{name}, who lives next door, is {k} years old.", r"old|age|year", (20, 80)),
    ("It is day {k} of the year.", r"\bday|year", (40, 300)),
    ("{name} watches all of this from house number {k}.", r"house", (11, 99)),
    ("The clock on the wall was made {k} years ago.", r"year|ago|clock", (20, 150)),
    ("Outside it is {k} degrees warm.", r"degree|temperature|warm", (15, 34)),
    ("A bus with the number {k} passes by.", r"\bbus", (11, 99)),
    ("{name} reads page {k} of a newspaper meanwhile.", r"page|read|newspaper", (11, 60)),
    ("The radio plays song number {k} of the list.", r"song|radio|play", (11, 90)),
    ("{name} has a ticket with the number {k} in a pocket.", r"ticket|pocket", (101, 999)),
    ("The nearest hill is {k} meters high.", r"meter|high|hill", (110, 900)),
)


def aside(question: str, rng: random.Random) -> str:
    """The question with one more sentence, whose number is irrelevant."""
    options = [(text, span) for text, words, span in _ASIDES if not re.search(words, question, re.IGNORECASE)]
    parts = sentences(question)
    if not options or len(parts) < 2:
        return question
    text, span = rng.choice(options)
    sentence = text.format(name=some_name(rng, question), k=rng.randint(*span))
    # Between a person and a later "she", another person's name would mislead: then it goes to the front.
    parts.insert(0 if _PRONOUN.search(parts[-1]) else len(parts) - 1, sentence)
    return " ".join(parts)
