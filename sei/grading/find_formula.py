"""Finding the expression that an output gives as its answer (style `math`).

Place in the flow: `sei.answers` calls `formula` and compares what it finds with the gold answer by `grading.latex`.
An answer tag or the last boxes beat "the answer is", which beats the last formula. A relation is found whole: that
`x = 5` gives 5, and `2x + 4y - 3 = 0` does not give 0, is for the comparison to say.

Example::

    formula("Final Answer: The largest $n$ is 34.")          # Found(text="34", marked=True, open_end=True)
    formula("$x = \\\\boxed{5}$ or $x = \\\\boxed{2}$").text     # "\\\\{5, 2\\\\}"
"""

from __future__ import annotations

import re

from sei.grading.find_number import number
from sei.grading.markers import WINDOW, Found, backwards, boxes, stretch, tag

_FEW = 60  # characters; longer words after "the answer is" are a sentence
_TAIL = 2000  # characters at the end of an output in which its last formula is looked for

_PHRASE = re.compile(
    r"\banswer(?:(?:[ ](?:to|of|in|for)\b[^.\n]{0,80}?)?[*_ ]{0,4}(?P<quote>[\"'](?=[ ]?:))?[ ]?"
    r"(?:is|are|was|(?:would|must|should|will)[ ]be|:)|[*_ ]{0,4}(?:=|-[ ]))"
    r"|^[ \t>*_#|]*(?:A|(?:final[ ])?answer)[*_ ]{0,3}(?::|(?<!A)(?P<cell>\|)|\r?$)|答案(?:[是为為]|[ ]?[：:])"
    r"|(?P<hashes>####)(?!\#)",
    re.IGNORECASE | re.MULTILINE,
)
_END = re.compile(r"\n|(?<!\\)[.!?](?=\s|$)|\b(?:because|since|which|where)\b")
_SEGMENT = re.compile(
    r"\$\$(.+?)\$\$|(?<!\\)\$((?:\\.|[^$\n\\])+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]"
    r"|(\\begin\{([a-z]{4,12}\*?)\}.+?\\end\{\6\})",
    re.DOTALL,
)
_FIELD = re.compile(r"""\s*(?:(["'])(.*?)(?<!\\)\1|([^,}\n]+))""")  # of JSON
_COPULA = re.compile(
    r"\b(?:is|are|was|be|equals?|becomes)\b(?:[ ](?:exactly|equal[ ]to|given[ ]by|therefore|thus|then|just))?|:"
)
_VALUE = re.compile(
    r"[\s*_`\"'>]*+(?:\\?\$|\\[(\[a-zA-Z{]|[-+−±]?[ ]?\.?[0-9½]|[({\[√π∞]|[A-Za-z](?![A-Za-z'’])(?![ ]+(?:[a-z]{2,}|\$|\\\()))"
)
_MATHEMATICS = re.compile(r"[0-9\\$]|^(?:[A-Za-z](?![A-Za-z'’])|[-+*/^()=<>\s])+$")
_CLAUSE = re.compile(r"[,;]?\s(?:for|when|whenever|if|provided|assuming|as|with|so|but)\b")
_AND = re.compile(r"\s*(?:,|;|=|\\?&|(?:,\s*)?\b(?:and|or)\b)\s*")
_TERM = r"(?:[A-Za-z](?![A-Za-z'’])|[0-9.,]++|\\[a-zA-Z]++|[{}()^_+*/|−-])"
# a relation written without dollars
_RELATION = re.compile(
    rf"(?<![A-Za-z0-9.(){{}}])(?:{_TERM}[ ]?)++(?:(?:<=|>=|!=|=<|[=<>≤≥≠⩽⩾])[ ]?(?:{_TERM}[ ]?)++)++"
)


def formula(output: str) -> Found | None:
    """The expression that `output` gives as its answer, or None if it gives none."""
    found = boxes(output) if "boxed" in output else []
    tagged = tag(output)
    if tagged and not (found and found[-1].start > tagged.start + len(tagged.content)):
        inside = _boxed(tagged.content) or _phrased(tagged.content)
        text = inside.text if inside else _stated(tagged.content)
        if tagged.closed or _MATHEMATICS.search(text):
            return Found(text, True, not tagged.closed)
    return _boxed(output) or _phrased(output) or _last(output) or _worded(output)


# --- boxes ---------------------------------------------------------------------------------------------------------

_SPACE = r"(?:\s|\\[ ,;:!]|\\q?quad(?![a-zA-Z])|~)"
_WORDS = r"(?:,?\s*(?:and|or|as\s+well\s+as|&)\s*(?:also\s+|else\s+)?)"
_FOREIGN = r"\b(?:und|oder|et|ou)\b|[，、；和或及与]"
_JOIN = re.compile(
    rf"(?:{_SPACE}|[$,;.:&*-]|\\[()\[\]\\&]|\\(?:land|lor|vee|wedge|cup)(?![a-zA-Z])|\b(?:and|or|as|well|also|else|either|both)\b"
    rf"|{_FOREIGN}|(?<=\n)[ \t]*[0-9]{{1,2}}[.)][ ]"
    rf"|\\(?:text|mbox|textrm|textbf|mathrm|hbox)\s*\{{{_SPACE}*(?:{_WORDS}|[,;])?{_SPACE}*\}}"
    r"|[a-zA-Z](?:_\{?[a-zA-Z0-9]{1,3}\}?)?\s*&?=)*"
)
_CONNECTED = re.compile(
    rf"\n[ \t]*(?:[-*]|[0-9]{{1,2}}[.)])[ \t]|\b(?:and|or)\b|[,;&]|\\(?:land|lor|vee|wedge|cup)(?![a-zA-Z])|{_FOREIGN}"
)
_AND_OR = re.compile(r"\b(?:and|or)\b")
_NAMED = re.compile(r"(?<![a-zA-Z\\_^{])([a-zA-Z](?:_\{?[a-zA-Z0-9]{1,3}\}?)?)\s*&?=[\s$]*\Z")


def _boxed(text: str) -> Found | None:
    """The last box, as one set with those just before it that "and", "or", a comma or nothing but space joins to it."""
    found = boxes(text) if "boxed" in text else []
    if not found:
        return None
    first = len(found) - 1
    while first > 0:
        between = text[found[first - 1].end : found[first].start]
        if len(between) > 80 or not _JOIN.fullmatch(between):
            break
        if not _CONNECTED.search(between) and re.search(r"[\n.:]", between):
            break  # a box on another line, or in another sentence, may be a correction
        first -= 1
    contents = list(dict.fromkeys(box.content for box in found[first:]))
    if len(contents) == 1:
        return Found(contents[0], True, False)
    joined = ", ".join(contents)
    before, after = text[: found[first].start].rstrip(), text[found[-1].end :].lstrip()
    bracketed = before.endswith("(") and not before.endswith("\\(") and after.startswith(")")
    if bracketed and not _AND_OR.search(text, found[first].end, found[-1].start):  # a tuple, box by box
        return Found(f"({joined})", True, False)
    names = [_NAMED.search(text, max(0, box.start - 20), box.start) for box in found[first:]]
    if len({name[1] for name in names if name}) == len(names) and all("=" not in content for content in contents):
        named = [f"{name[1]} = {box.content}" for name, box in zip(names, found[first:], strict=True) if name]
        return Found(", ".join(named), True, False)
    return Found(f"\\{{{joined}\\}}", True, False)


# --- sentences -----------------------------------------------------------------------------------------------------


def _phrased(text: str) -> Found | None:
    """What follows the last marker that is followed by mathematics."""
    for marker in backwards(_PHRASE, text):
        if marker["quote"] and (written := _FIELD.match(text, marker.end(), marker.end() + WINDOW)):
            return Found((written[2] or written[3] or "").replace("\\\\", "\\").strip(), True, False)
        place = stretch(text, marker.end(), len(text), _END)
        said = text[place.start : place.end].strip(" *_`")
        if place.display:
            return Found(said, True, False)
        if marker["cell"]:
            said = said.partition(" |")[0].strip(" *_`|")
        if (place.below or marker["hashes"]) and not _VALUE.match(said):
            continue  # a heading, or the solution's first line
        if _MATHEMATICS.search(said) and (answer := _stated(said)):
            return Found(answer, True, place.end == len(text))
    return None


def _worded(text: str) -> Found | None:
    """The words after the last marker: "The answer is Monday." """
    for marker in backwards(_PHRASE, text)[:1]:
        place = stretch(text, marker.end(), len(text), _END)
        said = text[place.start : place.end].strip(" *_`")
        if said and len(said) <= _FEW and not place.below:
            return Found(said, True, place.end == len(text))
    return None


def _stated(said: str) -> str:
    """The value in a sentence, or part of one, that may name symbols before it: "the largest $n$ is 34"."""
    said = said.strip().strip("*_`").strip()
    if _VALUE.match(said):
        return _run(said, 0)[0]
    if values := _values(said):
        return _run(said, values[0])[0]
    segments = _segments(said)
    return segments[-1] if segments else said


def _values(said: str) -> list[int]:
    """Where values begin that follow a verb: "is 34", "equals $x$"."""
    ends = [copula.end() for copula in _COPULA.finditer(_hidden(said))]
    return [end for end in ends if _VALUE.match(said, end)]


def _run(said: str, start: int) -> tuple[str, int]:
    """What begins at `start`, and where it ends: formulas that "and" or a comma joins, or words up to the next clause."""
    parts: list[str] = []
    position = start = start + len(said[start:]) - len(said[start:].lstrip(" *_`\"'>\n"))
    while segment := _SEGMENT.match(said, position):
        parts.append(_inside(segment).rstrip(" ,"))
        position = segment.end()
        joint = _AND.match(said, position)
        if joint is None or not (_SEGMENT.match(said, joint.end()) or "=" in joint[0]):
            break
        if "=" in joint[0]:  # "$x$ = 5"
            right, position = _run(said, joint.end())
            return f"{', '.join(parts)} = {right}", position
        position = joint.end()
    if parts:
        return ", ".join(parts), position
    clause = _CLAUSE.search(said, start)
    end = clause.start() if clause else len(said)
    return said[start:end].strip(" *_`"), end


def _last(output: str) -> Found | None:
    """Without any marker: the last value or formula of the last sentence, or else the last formula of its paragraph."""
    tail = output.rstrip()[-_TAIL:].rpartition("\n\n")[2].rstrip(" .!?\n")
    sentence = tail[max((end.end() for end in re.finditer(r"\n|[.!?]\s", _hidden(tail))), default=0) :]
    values = _values(sentence)
    if segments := list(_SEGMENT.finditer(sentence)):
        text, end = _run(sentence, values[-1]) if values else ("", 0)
        return Found(text if segments[-1].start() < end else _joined(sentence, segments), False, False)
    for relation in reversed(list(_RELATION.finditer(sentence))):
        plain = re.fullmatch(r"[^<>≤≥≠⩽⩾!]*=[^A-Za-z=]*", relation[0])  # "3 x 4 = 12": the number says it all
        if re.search(r"[A-Za-z]", relation[0]) and not plain:
            return Found(relation[0].strip(" *_"), False, False)
    if not values and (formulas := _segments(tail)):
        return Found(formulas[-1], False, False)
    found = number(sentence)
    return Found(found.text, False, found.open_end) if found else None


_SIDE = re.compile(r"\s*([a-zA-Z])\s*(?:[<>=≤≥⩽⩾]|\\(?:leq?|geq?|lt|gt)(?:slant)?(?![a-zA-Z]))")


def _joined(sentence: str, segments: list[re.Match[str]]) -> str:
    """The last formula, with those before it that "and" or "or" joins to it and that are about the same unknown."""
    parts = [_inside(segments[-1])]
    side = _SIDE.match(parts[0])
    for earlier, later in zip(segments[-2::-1], segments[:0:-1], strict=True):
        joint, other = _AND.fullmatch(sentence, earlier.end(), later.start()), _SIDE.match(_inside(earlier))
        word = joint and re.search(r"and|or", joint[0])
        if not (word and side and other and side[1] == other[1]):
            break
        parts.insert(0, f"{_inside(earlier)} {word[0]} ")
    return "".join(parts)


def _segments(text: str) -> list[str]:
    return [_inside(segment) for segment in _SEGMENT.finditer(text)]


def _hidden(text: str) -> str:
    """`text` with its formulas blotted out, so that only the words and stops between them are found.

    A stop at a formula's end ("$x = 5.$  Then") stays one.
    """
    return _SEGMENT.sub(lambda part: "$" * (len(part[0]) - 2) + (". " if _inside(part)[-1:] == "." else "$$"), text)


def _inside(segment: re.Match[str]) -> str:
    """The formula without what encloses it."""
    return next(filter(None, segment.groups()[:5])).strip()
