"""The words of a text in any script: what overlap and the hashing embedder count.

Place in the flow: `sei.data.overlap` compares questions word by word, `sei.clustering.embedders` hashes the words of error
keyphrases. Text in ASCII has the words that the package rouge_score gives it. Elsewhere a word is a run of letters and
digits with their combining marks; where a script sets no spaces between words (Chinese, Japanese, Thai, Khmer, Lao,
Burmese, ...), every letter with its marks is one.

Example::

    split_words("tom's 3 cafés")        # ["tom", "s", "3", "cafés"]
    split_words("农场有12只鸡")          # ["农", "场", "有", "12", "只", "鸡"]
    split_words("हिन्दी में")               # ["हिन्दी", "में"]
"""

from __future__ import annotations

import re
import unicodedata

import regex

_ASCII = re.compile(r"[a-z0-9]+")
# Scripts without spaces, by their properties: ideographs, kana, and what Unicode breaks into lines by dictionary (Thai,
# Lao, Khmer, Burmese and their kin). Digits are never taken apart: 12 and 21 are not the same number.
_UNSPACED = r"[\p{Ideographic}\p{scx=Hira}\p{scx=Kana}\p{Bopomofo}\p{Yi}\p{Line_Break=Complex_Context}]"
# Joiners stand inside the words of Persian and of India's languages, and tell nothing apart that readers would.
_JOINERS = "\u200c\u200d"
_MARKS = rf"[\p{{M}}\uff9e\uff9f{_JOINERS}]*"  # with the sound marks of half-width kana
_WORD = regex.compile(rf"(?=\p{{L}}|\p{{M}}){_UNSPACED}{_MARKS}|(?:(?!{_UNSPACED})\p{{L}}{_MARKS}|\p{{Nd}}{_MARKS})+")
_WITHOUT_JOINERS = dict.fromkeys(map(ord, _JOINERS))


def split_words(text: str) -> list[str]:
    """The words of `text` in order. Case counts: lower it first, as every caller does in its own way."""
    if text.isascii():
        return _ASCII.findall(text)
    # What is written in two ways (composed or not, full or half width) has one form. No word holds a line's end.
    found = "\n".join(_WORD.findall(text)).translate(_WITHOUT_JOINERS)
    return unicodedata.normalize("NFKC", found).split("\n") if found else []
