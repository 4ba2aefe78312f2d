"""Text of any kind takes time as it is long, up to the documented limits, where anything else would stop a process.

(Lengths are those of docs/data-model.md: 100,000 characters of a text, 1,000 of a span, 1,000 spans.)
"""

import time

import numpy as np
import pytest
from growth import MAX_GROWTH, REPEATED, assert_linear, repeated

from intently.text import chunk as chunk_module
from intently.text.chunk import MAX_RUN, Chunk, ChunkSettings, Document, best_text, choose_chunks, fixed_windows
from intently.text.lookalikes import MAX_COMPARED, fold_characters, fold_lookalikes, misreading_cost
from intently.text.ocr_cleaning import MAX_DOUBTFUL, Fate, OcrCleaner, OcrReport, OcrSettings, numbers_of
from intently.text.ocr_lexicon import OcrLexicon
from intently.text.sentences import join_texts, sentence_length, split_sentences
from intently.types import Span

TEXT, SPAN, SPANS = 100_000, 1_000, 1_000
WORDS = ("robot", "vacuum", "cleaner", "for", "the", "a", "in", "扫地机器人", "扫地", "机器人", "一", "吸尘器")
LEXICON = OcrLexicon.build([f"{word} {other}" for word in WORDS for other in WORDS])


def one_window(text: str) -> object:
    return fixed_windows(Document.build([text], [[1.0]]), 4, 4)


@pytest.mark.parametrize("text", REPEATED)
@pytest.mark.parametrize(
    "work", [split_sentences, sentence_length, numbers_of, fold_lookalikes, fold_characters, join_texts, one_window,
             lambda text: OcrLexicon.build([text])]
)  # fmt: skip
def test_texts(work, text):
    assert_linear(work, text, TEXT)


@pytest.mark.parametrize("ending", ["x", "1", ")", "-", "\nx"])
@pytest.mark.parametrize("text", [".", "a", "7", "(", '"', "\n ", "a "])
@pytest.mark.parametrize("work", [split_sentences, numbers_of, one_window])
def test_texts_that_end_otherwise(work, text, ending):
    """A pattern that matches all but the end may try to match anything shorter."""
    assert_linear(lambda repeated: work(repeated + ending), text, TEXT)


@pytest.mark.parametrize(
    "text", [*REPEATED, "robotvacuum", "r0b0t", "vacuurn", "扫他机器入", "robotvacuumqq", "x~", "qzxj"]
)
def test_doubtful_spans(text):
    def clean(span: str) -> object:
        # Nothing is remembered.
        return OcrCleaner(OcrLexicon(LEXICON.counts), OcrSettings(max_edits=1.0, min_known=0.0)).clean(Span(span, 0.6))

    assert_linear(clean, text, SPAN)


@pytest.mark.parametrize("text", ["robot vacuum ", "qzxj wvk ", "扫他机器入 ", "7 ", "robotvacuum"])
def test_a_page_is_read_within_its_budget(text):
    cleaner = OcrCleaner(LEXICON, OcrSettings())
    span = repeated(text, SPAN).strip()
    begun = time.thread_time()
    read, report = cleaner.clean_page([*[Span(span, 0.6)] * (SPANS - 1), Span("Sale!", 0.95)])
    assert time.thread_time() - begun < 60  # 40 minutes, were there no budget
    num_read = 0 if text == "7 " else MAX_DOUBTFUL // len(span)  # nothing but digits takes no reading
    assert report.unread == (0 if text == "7 " else SPANS - 1 - num_read)
    assert report.kept == 1
    assert read.endswith("Sale!")
    assert sum(vars(report).values()) == SPANS


def test_what_is_over_the_budget_is_dropped_and_counted():
    cleaner = OcrCleaner(LEXICON, OcrSettings())
    spans = [Span("robot vacuum", 0.6), Span("robot " * 1_665, 0.6), Span("r0bot", 0.6), Span("r0bot", 0.95)]
    text, report = cleaner.clean_page(spans)
    assert report == OcrReport(kept=1, confirmed=1, repaired_by_lexicon=1, unread=1)
    assert text == "robot vacuum robot r0bot"  # a shorter one still fits in
    assert report.recovered == pytest.approx(2 / 3)
    assert cleaner.clean(Span("robot " * 1_665, 0.6)).fate is Fate.CONFIRMED  # alone it does
    assert cleaner.clean(Span("robot " * 1_668, 0.6)).fate is Fate.UNREAD
    assert cleaner.clean(Span("ﷺ" * 1_000, 0.6)).fate is Fate.UNREAD  # 18,000 letters, once normalized


def test_long_texts_are_no_misreadings():
    assert misreading_cost("a" * 10_000, "a" * 10_000, lookalike=1, other=2) == 0
    assert misreading_cost("a" * (MAX_COMPARED + 1), "b", lookalike=1, other=2) == float("inf")
    assert misreading_cost("a" * MAX_COMPARED, "b", lookalike=1, other=2) == 2 * MAX_COMPARED
    assert LEXICON.readings("robot" * 10_000) == LEXICON.nearest("robot" * 10_000) == ()


def document(num_sentences: int, dimension: int = 16) -> Document:
    rng = np.random.default_rng(num_sentences)
    return Document.build(["One."] * num_sentences, rng.normal(size=(num_sentences, dimension)))


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_long_documents(diversity):
    chosen = ChunkSettings(num_chunks=8, max_length=400, max_chunk_length=200, diversity=diversity)
    interests = np.eye(16)
    documents = {number: document(number) for number in (2_000, 4_000)}

    def shortest(number: int) -> float:
        times = []
        for _ in range(3):
            begun = time.thread_time()
            choose_chunks(documents[number], interests, chosen)
            times.append(time.thread_time() - begun)
        return max(min(times), 0.05)

    assert shortest(4_000) <= MAX_GROWTH * shortest(2_000)


def test_a_chunk_has_so_many_sentences_at_most():
    page = document(3 * MAX_RUN)
    chosen = ChunkSettings(num_chunks=1, max_length=10_000, max_chunk_length=10_000, threshold=0.0)
    page = Document.build(page.sentences, np.ones((3 * MAX_RUN, 4)), np.full(3 * MAX_RUN, 1e-6))
    (chunk,) = choose_chunks(page, np.ones((1, 4)), chosen)
    assert (chunk.start, chunk.end) == (0, MAX_RUN)


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_blocks_of_runs_change_nothing(diversity, monkeypatch):
    page, interests = document(50), np.eye(16)[:3]
    chosen = ChunkSettings(diversity=diversity, threshold=0.2)
    expected = choose_chunks(page, interests, chosen)
    monkeypatch.setattr(chunk_module, "_BLOCK", 7)
    found = choose_chunks(page, interests, chosen)
    assert [(each.start, each.end) for each in found] == [(each.start, each.end) for each in expected]
    assert [each.score for each in found] == pytest.approx([each.score for each in expected])


def test_many_chunks_are_put_together():
    sentences = ["One."] * 20_000
    chunks = [Chunk("One. One.", start, start + 2) for start in range(0, 20_000, 2)]
    assert len(best_text(sentences, chunks)) == 20_000 * 5 - 1
