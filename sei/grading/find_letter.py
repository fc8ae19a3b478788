"""Finding the letter that an output chooses (style `choice`).

Place in the flow: `sei.answers` calls `letter` and compares what it finds with the gold answer.
An answer tag or a box beats "the answer is". After that a letter counts only where the text takes the answer back ("wait,
no, it is (C)"), and a letter that is ruled out ("not A but B") does not count. An option may also be named by its text.

Example::

    letter("The answer is (A). Wait, no, it is (C).")     # Found(text="C", marked=True, open_end=True)
"""

from __future__ import annotations

import re

from sei.grading.markers import WINDOW, Found, backwards, boxes, tag

_OPEN = r"[\s*_`(\[{$\\\"']{0,12}(?:\\?(?:text|mathrm|mathbf)(?:bf|rm)?[ ]?\{[\s(]{0,3})?"
# "A" and "I" are words too, unless something that follows a letter follows them; small letters count in brackets or alone
_AFTER_WORD = r"(?=[ ]+(?:because|since|as|for|and|or|nor|but|due|with|which|is)\b|(?![ ]+[a-z]{2,})(?!['’]))"
_LETTER = (
    rf"{_OPEN}(?:(?P<upper>[B-HJ])(?![A-Za-z'’])|(?P<word>[AI])(?![A-Za-z]){_AFTER_WORD}"
    r"|(?<=[(\[{])(?P<small>[a-j])(?=[)\]}])|(?P<label>[a-j])(?=\)[ ])"
    r"|(?P<alone>[a-j])(?=[)*_`\"'}$\]]{0,4}[.,;:!]?[)*_`\"'}$\]]{0,4}[ \t]*(?:\n|\Z)))"
)
_CHOSEN = re.compile(_LETTER)
_PHRASE = re.compile(
    r"(?:(?:\b(?:answer|choice|option)(?:[ ](?:choice|option|letter))?|答案)"
    r"(?:[ ](?:to|of|in|for)\b[^.\n]{0,80}?)?[*_ ]{0,4}(?:[\"'](?=[ ]?:))?"
    r"(?:(?:would|must|should|will|has to|can only)[ ]be|['’]s\b"
    r"|(?:is|was)(?P<denied>n['’]t|[ ]not|[ ]neither)?|[:：=|是为為选選]|[-–—]{1,2}>?|→)?"
    r"(?:[ ](?:(?:most[ ]|very[ ])?[a-z]{1,12}ly|therefore|thus|then|indeed))?"
    r"|\bI(?:['’]d|['’]ll|[ ]will|[ ]would)?[ ](?:choose|pick|select|say|go[ ]with)(?:[ ]the)?"
    r"|####|^[ \t>*_#]*A:)"
    r"[*_:\s]{0,8}(?:(?:option|choice|letter|answer)\b)?(?P<denied_too>not[ ]|neither[ ])?\s?",
    re.IGNORECASE | re.MULTILINE,
)
_IS_RIGHT = re.compile(
    r"\(?\b(?P<upper>[A-J])\)?[*_ ]{0,3}(?:is|must be|should be)[ ](?:clearly[ ]|therefore[ ])?(?:the[ ])?(?:only[ ])?"
    r"(?:correct|right|best|better|answer)\b"
)
_ANOTHER = re.compile(r"[\s)*_}]*(?:,|/|\bor\b|\band\b|\bnor\b)\s*\(?(?:[A-J](?:\)|\b(?!\s+[a-z]))|[b-j]\))")
_SENTENCE_END = re.compile(r"\n|[.!?;](?=\s|$)")
# "wait", and then a letter as an answer: "it is (C)", "(C)." but not "(A) is too small"
_DOUBT = re.compile(
    r"\b(?:wait|no|nope|not|but|rather|instead|actually|sorry|correction|oops|hmm+|scratch that|i mean|mistake|reconsider"
    r"|second thoughts?|re-?(?:check|think|read|evaluate|examine)|check(?:ing)? again|however|changed?)\b",
    re.IGNORECASE,
)
_SAID = (
    r"\b(?i:(?:it|that|this|which|answer|choice|option)(?:['’]s|[ ](?:is|was|has to be))|(?:must|should|would|will|has to)[ ]be"
    r"|(?<!to[ ])(?<!not[ ])(?<!t[ ])(?:choose|chose|pick|select|say|go|going)(?:[ ]with)?|make[ ](?:it|that)|mean|meant)"
)
_TURN = r"\b(?i:rather|but|instead|no|wait|actually|sorry|correction|so|then|therefore|hence|thus|to)|[.:,;!?—–-]|\n"
_ENDS = (
    r"[)*_`\]}$]{0,4}(?=[ ]?(?:[.,;:!?\n—–]|\Z|because|since|instead|as\b|for\b|after all|then\b"
    r"|is (?:the |really |actually )?(?:right|correct|better|best|answer)))"
)
_THE = (
    r"[,:*_ ]{0,4}(?i:(?:it is|it['’]s)[ ])?(?i:[a-z]{1,12}ly[ ])?"
    r"(?i:(?:the[ ])?(?:option|choice|letter|answer)[: ]{1,2}(?:is[ ])?)?"
)
_CLAIM = re.compile(rf"(?:{_SAID}|{_TURN}){_THE}{_LETTER}{_ENDS}")
_VERDICT = re.compile(rf"(?:{_SAID}|\b(?i:so|therefore|thus|hence)\b){_THE}{_LETTER}{_ENDS}")
# "option A is a distractor": an option that is only spoken of
_MENTION = re.compile(
    r"[)\]*_ ]*(?:is|was|are|has|does|would|could|can|cannot)\b"
    r"(?![ ](?:clearly |the |an? )*(?:correct|right|best|better|good|true|answer))"
)
_ENCLOSED = re.compile(r"\(([A-J])\)")
_NAMED = re.compile(r"\(([A-J])\)(?![ ](?:is|was|are|has|does|would|could|can|cannot)\b)")
_ALONE = re.compile(r"^[ \t*_(\[]{0,8}([A-J])(?:[\]).:*_\s]|$)(?![a-z])", re.MULTILINE)
# "b", "(b) garage": alone, or with its option and nothing else
_SMALL_ALONE = re.compile(r"[\s*_(\[]{0,8}([a-j])(?:[\])*_.\s]{0,8}|[*_]{0,2}[).][*_]{0,2}[ ][^\n]{1,80}\n?)")


def letter(output: str) -> Found | None:
    """The letter that `output` chooses, or the text after its "answer is" if it names an option without its letter."""
    found = boxes(output) if "boxed" in output else []
    tagged = tag(output)
    if tagged and (tagged.closed or _CHOSEN.match(tagged.content)) and not (found and found[-1].start > tagged.start):
        inner = _enclosed(tagged.content) or _spoken(tagged.content)
        return Found(inner.text if inner else tagged.content, True, not tagged.closed)
    if found:
        return _enclosed(found[-1].content) or Found(found[-1].content, True, False)
    spoken = _spoken(output)
    if spoken and (spoken.marked and re.fullmatch("[A-J]", spoken.text)):
        return spoken
    return _fallback(output, spoken)


def _enclosed(content: str) -> Found | None:
    """The letter that a box or tag begins with."""
    content = content[:WINDOW]
    nested = boxes(content)
    content = nested[-1].content if nested else content
    chosen = _CHOSEN.match(content)
    return Found(_name(chosen), True, False) if chosen else None


def _name(match: re.Match[str]) -> str:
    groups = match.groupdict()
    return next(filter(None, (groups.get(name) for name in ("upper", "word", "small", "label", "alone")))).upper()


def _spoken(output: str) -> Found | None:
    """What follows the last marker: a letter, several letters, or the words of an option."""
    words: Found | None = None
    for marker in sorted(backwards(_PHRASE, output), key=_is_bare):
        limit = min(len(output), marker.end() + WINDOW)
        chosen = _CHOSEN.match(output, marker.end(), limit)
        denied = marker["denied"] or marker["denied_too"]
        if chosen and _is_bare(marker) and _MENTION.match(output, chosen.end()):
            continue
        if chosen:
            later = _taken_back(output, chosen.end(), denied=bool(denied))
            if later or not denied:
                return later or _stated(output, chosen)
            continue
        if words is None and "answer" in marker[0].lower() and not denied:
            end = _SENTENCE_END.search(output, marker.end(), limit)
            stop = end.start() if end else limit
            said = output[marker.end() : stop].strip(" *_\"'")
            named = set(_NAMED.findall(said))
            if len(named) == 1:  # "the answer is, as we saw, (B)"
                return _taken_back(output, stop) or Found(named.pop(), True, False)
            words = Found(said, True, stop == len(output)) if said else None
    for right in backwards(_IS_RIGHT, output):
        return Found(right["upper"], True, False)
    return words


def _is_bare(marker: re.Match[str]) -> bool:
    """Whether a marker only names an option, without a verb: what is called the answer comes first, wherever it stands."""
    return marker[0].strip(" *_").lower() in ("option", "choice")


def _stated(output: str, chosen: re.Match[str]) -> Found:
    if several := _ANOTHER.match(output, chosen.end(), min(len(output), chosen.end() + WINDOW)):
        return Found(output[chosen.start() : several.end()].strip(), True, False)  # naming two options is not a choice
    return Found(_name(chosen), True, False)


def _taken_back(output: str, start: int, *, denied: bool = False) -> Found | None:
    """The last letter that is given as the answer after a doubt about the one that ends at `start`."""
    doubt = None if denied else _DOUBT.search(output, start)
    if not denied and doubt is None:
        return None
    claims = list(_CLAIM.finditer(output, start if doubt is None else doubt.start()))
    return Found(_name(claims[-1]), True, False) if claims else None


def _fallback(output: str, spoken: Found | None) -> Found | None:
    """Without any marker: "so it must be C", the last letter in brackets, or one that stands alone in a short output."""
    if spoken is None and (said := list(_VERDICT.finditer(output))):
        later = _taken_back(output, said[-1].end())
        return later or Found(_name(said[-1]), False, said[-1].end() == len(output))
    for pattern in (_ENCLOSED, _ALONE):
        letters = list(pattern.finditer(output))
        if letters and (pattern is _ENCLOSED or len(output.strip()) < 200):
            return spoken or Found(letters[-1][1], False, letters[-1].end() == len(output))
    if spoken is None and (small := _SMALL_ALONE.fullmatch(output)):
        return Found(small[1].upper(), False, True)
    return spoken
