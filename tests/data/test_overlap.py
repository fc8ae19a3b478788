"""The similarity filter decides exactly as a loop over rouge_score does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sei.data import overlap as module
from sei.data.overlap import Overlap, SimilarityFilter, content_key, exact_matches, shared_ngrams
from sei.data.sources import Published
from sei.records import Problem
from sei.stages.separate import separate
from sei.words import split_words

rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")


class _Words:
    """Our words as rouge_score takes them; those of ASCII texts are its own (tests/test_words.py)."""

    def tokenize(self, text: str) -> list[str]:
        return split_words(text.lower())


_SCORER = rouge_scorer.RougeScorer(["rougeL"], tokenizer=_Words())
_CASE = Path(__file__).parents[2] / "../shared/cases/data/overlap-nonlatin"
_GSM8K = Path(__file__).parents[2] / "../shared/data/gsm8k/train.jsonl"

# Few distinct words, so that long common subsequences and scores at the threshold are frequent.
_texts = st.one_of(
    st.lists(st.sampled_from(["a", "b", "B", "c7", "...", "é", "5", "7,5", "鸡", "ก้"]), max_size=12).map(" ".join),
    st.text(max_size=30),
)


def _score(first: str, second: str) -> float:
    return _SCORER.score(first, second)["rougeL"].fmeasure


def _filter_by_loop(texts: list[str], references: list[str], threshold: float) -> list[float | None]:
    """What one would write with rouge_score: the highest score of each rejected text, None for kept ones."""
    known, results = list(references), []
    for text in texts:
        highest = max((_score(other, text) for other in known), default=0.0)
        results.append(highest if highest >= threshold else None)
        if highest < threshold:
            known.append(text)
    return results


@pytest.mark.parametrize(
    ("few", "characters"),
    [(64, sys.maxunicode), (0, sys.maxunicode), (0, 3)],
    ids=["all compared", "by index", "by index, with more words than characters"],
)
@settings(max_examples=150, deadline=None)
@given(st.lists(_texts, max_size=8), st.lists(_texts, max_size=6), st.sampled_from([0.3, 0.5, 2 / 3, 0.7, 1.0]))
def test_decisions_and_scores_are_those_of_rouge_score(
    few: int, characters: int, texts: list[str], references: list[str], threshold: float
) -> None:
    with mock.patch.multiple(module, _FEW=few, _CHARACTERS=characters):
        overlaps = SimilarityFilter(threshold, references).filter_batch(texts)
    assert [overlap and overlap.score for overlap in overlaps] == _filter_by_loop(texts, references, threshold)
    for text, overlap in zip(texts, overlaps, strict=True):
        assert overlap is None or _score(overlap.reference, text) == overlap.score


def test_of_equal_references_the_first_is_named() -> None:
    references = ["a b c d e f g x", "a b c d e f g y"]
    for few in (0, 64):
        with mock.patch.object(module, "_FEW", few):
            assert SimilarityFilter(0.7, references).check("a b c d e f g z") == Overlap(0.875, references[0])


@settings(max_examples=100, deadline=None)
@given(st.lists(_texts, max_size=8))
def test_batch_is_check_and_add_one_by_one(texts: list[str]) -> None:
    one_by_one = SimilarityFilter(0.6)
    expected = []
    for text in texts:
        expected.append(one_by_one.check(text))
        if expected[-1] is None:
            one_by_one.add(text)
    batched = SimilarityFilter(0.6)
    got = batched.filter_batch(texts)
    assert [overlap and overlap.score for overlap in got] == [overlap and overlap.score for overlap in expected]
    assert len(batched) == len(one_by_one)


def test_a_score_at_the_threshold_is_rejected() -> None:
    # 7 common words of 10 and 10: F is 0.7 as rouge_score computes it, which is how it falls against 0.7
    reference = "a b c d e f g h i j"
    candidate = "a b c d e f g x y z"
    assert (SimilarityFilter(0.7, [reference]).check(candidate) is not None) == (_score(reference, candidate) >= 0.7)
    assert SimilarityFilter(0.71, [reference]).check(candidate) is None
    assert SimilarityFilter(0.5, [reference]).check(candidate) == Overlap(_score(reference, candidate), reference)


def test_without_references_or_words_nothing_overlaps() -> None:
    assert SimilarityFilter(0.7).check("anything") is None
    assert SimilarityFilter(0.1, ["", "?!"]).filter_batch(["", "?!", "…"]) == [None, None, None]


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5])
def test_impossible_threshold(threshold: float) -> None:
    with pytest.raises(ValueError, match="a threshold in"):
        SimilarityFilter(threshold)


def test_batches_larger_than_one_block_still_see_each_other() -> None:
    texts = [f"text{i} word{i} item{i}" for i in range(400)]
    overlaps = SimilarityFilter(0.7).filter_batch([*texts, texts[3], texts[399]])
    assert overlaps[:400] == [None] * 400
    assert overlaps[400:] == [Overlap(1.0, texts[3]), Overlap(1.0, texts[399])]


@pytest.mark.skipif(not _GSM8K.exists(), reason="needs shared/data/gsm8k")
def test_real_questions() -> None:
    questions = [json.loads(line)["question"] for line in _GSM8K.read_text().splitlines()[:60]]
    near = [question.replace(" the ", " a ") for question in questions[:10]]  # 0.9 and more to their originals
    texts = questions[20:40] + near
    overlaps = SimilarityFilter(0.4, questions[:20]).filter_batch(texts)
    assert [overlap and overlap.score for overlap in overlaps] == _filter_by_loop(texts, questions[:20], 0.4)
    assert all(overlaps[-10:])


def test_exact_matches_ignore_only_typography() -> None:
    references = ["Ann has 1,000 apples.", "x - 3 = 5?"]
    texts = ["ann  has 1000 apples", "x + 3 = 5?", "x \N{MINUS SIGN} 3 = 5", "Ann has 1,001 apples."]
    assert exact_matches(texts, references) == {0: references[0], 2: references[1]}
    assert content_key("Tom\N{RIGHT SINGLE QUOTATION MARK}s 3.5") == "tom's 3.5"
    assert content_key("1.5") != content_key("15")


def test_check_many_is_check_one_by_one_and_adds_no_reference() -> None:
    texts = [f"a b c d e f g{i} h{i % 7}" for i in range(600)]  # more than two blocks
    near = SimilarityFilter(0.7, texts[:5])
    assert near.check_many(texts) == [near.check(text) for text in texts]
    assert len(near) == 5


def test_shared_ngrams_by_hand() -> None:
    references = ["one two three four", "two three four five six", "Tiny text"]
    texts = [
        "zero two three four five",  # 3-grams: zero two three | two three four | three four five; 2 in the second
        "One, two: THREE!",  # shorter than 4 words below, one 3-gram here
        "tiny text",  # shorter than n: whole
        "tiny text more",  # not the same whole text
        "？！",  # no words
    ]
    assert shared_ngrams(texts, references, 3) == {
        0: Overlap(2 / 3, references[1]),
        1: Overlap(1.0, references[0]),
        2: Overlap(1.0, references[2]),
    }
    assert shared_ngrams(texts, references, 4) == {0: Overlap(1 / 2, references[1]), 2: Overlap(1.0, references[2])}
    assert shared_ngrams(["a b", "b a"], ["a b a", "a b"], 2) == {
        0: Overlap(1.0, "a b a"),
        1: Overlap(1.0, "a b a"),
    }
    with pytest.raises(ValueError, match="at least one word"):
        shared_ngrams(texts, references, 0)


def test_texts_without_words_share_nothing() -> None:
    assert shared_ngrams(["", "?!"], ["", "？！"], 2) == {}


# Six training problems, a near copy of the last of them, and two others: of each script, the near copy alone is taken out.
_SCRIPTS = {
    "Russian": (
        [
            "У Маши 3 яблока, она купила ещё 5. Сколько яблок у Маши?",
            "Поезд едет 60 км в час. Сколько он проедет за 3 часа?",
            "В магазине 12 книг, продали 4. Сколько осталось?",
            "В классе 20 столов, 7 вынесли. Сколько столов в классе?",
            "В коробке 6 карандашей. Сколько карандашей в 9 коробках?",
            "Лена читает 8 страниц в день. Сколько страниц она прочтёт за неделю?",
        ],
        [
            "Лена каждый день читает 8 страниц в день. Сколько всего страниц она прочтёт за неделю?",
            "На складе 20 ящиков по 7 килограммов. Сколько они весят?",
            "У Пети 9 марок, он отдал 2. Сколько марок осталось у Пети?",
        ],
    ),
    "Hindi": (
        [
            "राम के पास 3 सेब हैं और वह 5 और खरीदता है। अब कितने सेब हैं?",
            "रेलगाड़ी एक घंटे में 60 किलोमीटर चलती है। 3 घंटे में कितना चलेगी?",
            "दुकान में 12 किताबें हैं, 4 बिक गईं। कितनी बचीं?",
            "कक्षा में 20 मेज़ें हैं, 7 हटा दी गईं। कितनी मेज़ें बचीं?",
            "एक डिब्बे में 6 पेंसिलें हैं। 9 डिब्बों में कितनी पेंसिलें हैं?",
            "सीता रोज़ 8 पन्ने पढ़ती है। वह एक सप्ताह में कितने पन्ने पढ़ती है?",
        ],
        [
            "सीता हर रोज़ 8 पन्ने पढ़ती है। वह एक सप्ताह में कुल कितने पन्ने पढ़ती है?",
            "गोदाम में 20 पेटियाँ हैं, हर पेटी 7 किलो की है। कुल वज़न कितना है?",
            "मोहन के पास 9 टिकट हैं, उसने 2 दे दिए। कितने बचे?",
        ],
    ),
    "Thai": (
        [
            "สมชายมีแอปเปิ้ล 3 ผล และซื้อเพิ่มอีก 5 ผล ตอนนี้เขามีแอปเปิ้ลกี่ผล",
            "รถไฟวิ่งชั่วโมงละ 60 กิโลเมตร วิ่ง 3 ชั่วโมงได้ระยะทางเท่าไร",
            "ร้านมีหนังสือ 12 เล่ม ขายไป 4 เล่ม เหลือกี่เล่ม",
            "ในห้องเรียนมีโต๊ะ 20 ตัว ย้ายออก 7 ตัว เหลือโต๊ะกี่ตัว",
            "กล่องหนึ่งมีดินสอ 6 แท่ง 9 กล่องมีดินสอกี่แท่ง",
            "สมหญิงอ่านหนังสือวันละ 8 หน้า หนึ่งสัปดาห์อ่านได้กี่หน้า",
        ],
        [
            "สมหญิงอ่านหนังสือทุกวันวันละ 8 หน้า ในหนึ่งสัปดาห์เธออ่านได้กี่หน้า",
            "โกดังมีส้ม 20 ลัง ลังละ 7 กิโลกรัม หนักทั้งหมดเท่าไร",
            "มานีมีแสตมป์ 9 ดวง ให้เพื่อนไป 2 ดวง เหลือกี่ดวง",
        ],
    ),
    "Japanese": (
        [
            "りんごが3個あります。さらに5個買いました。全部で何個ですか。",
            "電車は時速60kmで3時間走りました。何km走りましたか。",
            "本屋に本が12冊あり、4冊売れました。残りは何冊ですか。",
            "教室に机が20台あります。7台運び出しました。何台残りますか。",
            "鉛筆は1箱に6本です。9箱では何本ありますか。",
            "花子は毎日本を8ページ読みます。1週間で何ページ読みますか。",
        ],
        [
            "花子さんは毎日、本を8ページずつ読みます。1週間では何ページ読みますか。",
            "倉庫にみかんが20箱あり、1箱は7キロです。全部で何キロですか。",
            "太郎は切手を9枚持っていて、2枚あげました。今は何枚ですか。",
        ],
    ),
}


@pytest.mark.parametrize("script", _SCRIPTS)
def test_near_copies_are_found_in_every_script(script: str) -> None:
    train, test = (
        [
            Problem.make(question=question, answer=str(n), solution="", source="own")
            for n, question in enumerate(questions)
        ]
        for questions in _SCRIPTS[script]
    )
    output = separate(train, {"test": test}, rouge=0.7, ngram=13)
    assert output.records == train[:5]
    assert [rejected.source_id for rejected in output.rejected] == [train[5].id]


@pytest.mark.skipif(not _CASE.is_dir(), reason="needs shared/cases")
def test_handed_case() -> None:
    splits = Published("gsm8k", path=str(_CASE)).load()
    output = separate(splits.train, splits.tests, rouge=0.7, ngram=13)
    assert output.records == splits.train[:5]
