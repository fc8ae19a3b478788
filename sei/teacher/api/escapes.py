r"""Backslashes in JSON that a model wrote: what each was meant as.

Place in the flow: `json_text` hands over the inside of every JSON string that holds a backslash, as it was written, and
decodes what comes back. A program writes `\\frac` for LaTeX's `\frac` and `\\\\` for a row break `\\`; a careless writer, as
models are, leaves LaTeX's own backslashes single: `\frac` (JSON reads a form feed and "rac"), `\nu` (a new line and "u"), `\\`
(one backslash). So first the hand is told, from what only one of the two can have written; then each backslash is read as that
hand meant it. Where a JSON escape and a command are both possible (`\nu`, `\to`), it is a command inside a formula and an escape
outside; `\\` between the rows of a matrix is a row break unless the same text has row breaks written in full.

Example::

    mend(r"$\frac{1}{2} \\ \nu$")         # r"$\\frac{1}{2} \\\\ \\nu$", fit for a JSON parser
    mend(r"$\\frac{1}{2}$\nso")           # unchanged: a careful hand
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# LaTeX commands that begin like JSON's \n, \r, \t. (\b and \f, a backspace and a form feed, are never meant.)
_COMMANDS = frozenset(
    "nabla natural ncong ne nearrow neg neq newline nexists ngeq ngeqslant ngtr ni nleftarrow nleq nleqslant nless nmid "
    "nobreak noindent nolimits nonumber normalsize not notin nparallel nprec nrightarrow nsim nsubset nsubseteq nsucc "
    "nsupseteq nu nvdash nwarrow "
    "rVert raisebox rangle rbrace rbrack rceil ref renewcommand rfloor rho right rightarrow rightharpoonup rightleftarrows "
    "rightleftharpoons risingdotseq rlap rm root rtimes rule rvert "
    "tag tan tanh tau tbinom text textbf textcolor textit textnormal textrm textsc textsf textstyle texttt tfrac therefore "
    "theta thickapprox thinspace tilde times tiny to top triangle triangledown triangleleft triangleq triangleright tt "
    "twoheadrightarrow".split()
)
# Of these, the ones whose rest is a variable or a word that may well begin a line or a column: "e", "u", "less", "angle" ...
_EITHER = frozenset("ne neg nexists ni nless nmid nparallel nsim nu tan to top tt".split())
_SHORT = frozenset("bf cr ge gg gt in it le lg ll ln lt mp mu ne ni nu of or pi pm rm to wp wr xi Im Pr Re".split())
_RUN = re.compile(r"(\\+)([A-Za-z]*)|\$\$?")
_ROW_BREAK = "\\" * 4  # of one who writes every backslash twice
_ROWS = re.compile(r"begin\{(?:\w*matrix|array|cases|align|gather|split|eqnarray|multline)")
_SYMBOLS = tuple("()[]{}$%&#_,;:!|")  # with a backslash they are commands
_HEX4 = re.compile(r"[0-9a-fA-F]{4}")
_ARGUMENTS = re.compile(r"\{[^{}]{1,40}\}(?:\[[^\[\]]{1,40}\])?(?:\{[^{}]{1,60}\})?")  # of \begin
_WIDEST_GAP = 20  # characters
_LONGEST_FORMULA = 400  # characters of a text without any mark of a formula that may all be one, as answers are


@dataclass(frozen=True)
class Hand:
    """Who wrote: `careful` and `careless` say that something was found that only such a writer writes; both may be."""

    careful: bool = False
    careless: bool = False


def hand_of(text: str) -> Hand:
    """The hand that wrote `text`, a JSON string's inside or a whole document."""
    careful = careless = False
    for run in _RUN.finditer(text):
        if run[1] is None:
            continue
        length, word = len(run[1]), run[2]
        if length % 2 == 0:
            careful |= length >= 4 or len(word) > 2 or word in _SHORT
        else:
            careless |= _is_command(text, run.end(1), word) and word not in _EITHER
    return Hand(careful, careless)


def mend(text: str, document: Hand | None = None) -> str:
    """The inside of a JSON string with backslashes doubled where they were meant as they stand.

    `document` is the hand of the whole reply, by which a string is read that betrays none.
    """
    if "\\" not in text:
        return text
    hand = hand_of(text)
    if hand == Hand():
        hand = document or hand
    if hand.careful and not hand.careless and (_ROW_BREAK in text or not _ROWS.search(text)):
        return text
    formula = _Formula(text)
    pieces: list[str] = []
    done = 0
    for run in _RUN.finditer(text):
        if run[1] is None:
            formula.dollar(run[0], run.end())
            continue
        slashes, word, end = len(run[1]), run[2], run.end(1)
        escape = slashes % 2 == 1 and not _is_meant(text, run, formula, hand)
        literal = slashes - 1 if escape else slashes
        if literal and not _already_escaped(literal, escape, word, text[end : end + 1], formula, hand):
            pieces += [text[done : run.start()], "\\" * literal]
            done = run.start()
        formula.command(slashes, text, end, word)
    return "".join([*pieces, text[done:]])


def _is_command(text: str, end: int, word: str) -> bool:
    """Whether an odd run of backslashes that ends at `end` cannot be, or is hardly ever, one of JSON's escapes."""
    following = text[end : end + 1]
    if following in ('"', "/", ""):
        return False
    if following == "u":
        return _HEX4.match(text, end + 1) is None
    if following in ("n", "r", "t"):
        return word in _COMMANDS
    return len(word) > 1 or following not in ("b", "f")


def _is_meant(text: str, run: re.Match[str], formula: _Formula, hand: Hand) -> bool:
    """Whether the last backslash of an odd run was meant as it stands."""
    if not _is_command(text, run.end(1), run[2]):
        return False
    if hand.careful and not hand.careless:
        return False
    if run[2] not in _EITHER or run.start() == 0:  # nothing begins with a new line
        return True
    if formula.open:
        return not (run[2][0] == "n" and formula.begins_line(run.start()))
    return formula.bare and (hand.careless or run[2][0] == "t")  # a tab is hardly ever meant


def _already_escaped(literal: int, escape: bool, word: str, following: str, formula: _Formula, hand: Hand) -> bool:
    """Whether backslashes that are not an escape's own were written twice already."""
    if literal % 2 == 1:
        return False
    if hand.careless and not hand.careful:
        return False
    row_break = literal == 2 and (escape or not (len(word) > 2 or word in _SHORT))
    if hand.careful:  # careful writers too forget that a row break is two backslashes already
        return not (row_break and formula.rows and _ROW_BREAK not in formula.text and following not in _SYMBOLS)
    return not (escape and row_break and following == "n")


class _Formula:
    """Where in a text a pass through it stands: inside a formula, inside rows, at the beginning of a line of either."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._inline = self._display = False
        self._environments = 0
        self._line_from = 0  # where the part of a displayed formula began that may be followed by a new line
        self.bare = len(text) <= _LONGEST_FORMULA and not re.search(r"\$|\\[(\[]|\\n(?![A-Za-z])", text)

    @property
    def open(self) -> bool:
        return self._inline or self._display or self._environments > 0

    @property
    def rows(self) -> bool:
        return self._environments > 0

    def begins_line(self, position: int) -> bool:
        """Whether only a little white space lies between `position` and a row break or a displayed formula's beginning."""
        near = 0 <= position - self._line_from <= _WIDEST_GAP
        return near and not self._inline and not self.text[self._line_from : position].strip()

    def dollar(self, mark: str, end: int) -> None:
        if mark == "$$":
            self._display = not self._display
        else:
            self._inline = not self._inline
        self._line_from = end

    def command(self, slashes: int, text: str, end: int, word: str) -> None:
        following = text[end : end + 1]
        if following in ("(", ")"):
            self._inline = following == "("
        elif following in ("[", "]"):
            self._display = following == "["
            self._line_from = end + 1
        elif word in ("begin", "end"):
            self._environments = max(0, self._environments + (1 if word == "begin" else -1))
            arguments = _ARGUMENTS.match(text, end + len(word))
            self._line_from = arguments.end() if arguments else end
        elif slashes >= 2 and not word:
            self._line_from = end
