"""What holds for every title of real catalogs: read by path, never part of the project."""

import csv
import gzip
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from intently.index.lexical import LexicalIndex, LexicalSettings, query_reader
from intently.text.analyze import Analyzer, Kind
from intently.text.fold import fold
from intently.text.markup import plain_text
from intently.text.normalize import normalize
from intently.text.query_text import QueryReader

DATA = Path(os.environ.get("INTENTLY_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
CATALOGUES = {"homedepot": "english", "searchads": "english", "qadsm_de": "german", "zh": "english"}
NUM_TITLES = 2_500  # of each
BRANDS = tuple(
    """
    nike adidas lego canon twinings sony nokia samsung casio asus acer lenovo philips braun miele tesla toyota
    honda mazda nissan subaru porsche ferrari audi volvo gucci prada chanel dior hermes rolex omega cartier
    tiffany zara uniqlo levis wrangler puma reebok asics converse vans fila umbro nestle nespresso lavazza
    starbucks lindt haribo ferrero milka oreo pringles doritos pepsi heinz danone nivea loreal garnier
    maybelline clinique olay gillette pampers huggies ikea wayfair netflix spotify adobe oracle logitech razer
    corsair sandisk nikon fujifilm olympus leica gopro garmin fitbit bose jbl sennheiser fender gibson yamaha
    hasbro mattel barbie playmobil schleich
    """.split()  # noqa: SIM905
)

pytestmark = pytest.mark.skipif(
    not all((DATA / name / "ads.tsv.gz").exists() for name in CATALOGUES),
    reason=f"the real catalogs are not in {DATA}; set INTENTLY_DATA to where they are",
)
each_catalogue = pytest.mark.parametrize("name", CATALOGUES)


@cache
def titles_of(name: str) -> tuple[str, ...]:
    with gzip.open(DATA / name / "ads.tsv.gz", "rt", encoding="utf-8", newline="") as file:
        titles = [row["title"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    return tuple(titles[:: max(1, len(titles) // NUM_TITLES)][:NUM_TITLES])


@each_catalogue
def test_normalizing_twice_is_the_same(name):
    for title in titles_of(name):
        once = normalize(title)
        assert normalize(once) == once
        assert fold(fold(once)) == fold(once)
        assert plain_text(plain_text(title)) == plain_text(title)


@each_catalogue
def test_analyzing_what_was_normalized_is_the_same(name):
    analyzer = Analyzer(CATALOGUES[name])
    for title in titles_of(name):
        tokens = analyzer.tokens(title)
        assert tokens == analyzer.tokens(normalize(title))
        assert all(token.word and token.term for token in tokens)
        assert analyzer.words(title) == [word for word, _ in analyzer.phrase(title)]
        words, terms = analyzer.written_terms(title)
        assert terms == analyzer.terms(title)
        assert len(words) == len(terms)
        assert bool(terms) == any(char.isalnum() for char in normalize(title)), title


@each_catalogue
def test_case_and_width_do_not_matter(name):
    analyzer = Analyzer(CATALOGUES[name])
    wide = {code: code + 0xFEE0 for code in range(ord("A"), ord("z") + 1)}
    for title in titles_of(name):
        assert analyzer.tokens(title.upper()) == analyzer.tokens(title.lower()) or not title.isascii()
        assert analyzer.tokens(title.translate(wide)) == analyzer.tokens(title)


@each_catalogue
def test_a_title_is_found_by_itself(name):
    titles = titles_of(name)
    index = LexicalIndex.build(titles, LexicalSettings(stemmer=CATALOGUES[name]))
    for row in range(0, len(titles), 5):
        read = index.reader.read(titles[row])
        assert read == index.reader.read(titles[row])
        scores = index.scores(index.known(read))
        assert scores[row] > 0 or read.says_nothing
        assert scores[row] >= 0.5 * scores.max(), titles[row]
        assert set(read.terms) >= {token.term for token in index._analyzer.tokens(read.normalized)}


@each_catalogue
def test_words_of_titles_are_not_corrected_but_if_far_rarer_than_another(name):
    titles = titles_of(name)
    index = LexicalIndex.build(titles, LexicalSettings(stemmer=CATALOGUES[name]))
    reader, analyzer = index.reader, Analyzer(CATALOGUES[name])
    for title in titles[::10]:
        for word, read_as in ((each.word, each.read_as) for each in reader.read(title).corrections):
            if " " not in word:
                counts = [int(np.count_nonzero(index.scores(index.analyze(one)))) for one in read_as]
                assert min(counts) >= 3, (title, word, read_as, analyzer.stem(word))


@each_catalogue
def test_without_a_speller_a_query_has_the_terms_of_the_title(name):
    analyzer = Analyzer(CATALOGUES[name])
    reader = QueryReader(analyzer)
    for title in titles_of(name):
        read = reader.read(title)
        expected = dict.fromkeys(token.term for token in analyzer.tokens(read.normalized))
        assert dict.fromkeys(read.terms) == expected
        assert read.readings == (tuple(stem for _, stem in analyzer.phrase(read.normalized)),)
        assert all(token.kind is not Kind.STOP for token in analyzer.tokens(title)) or min(read.weights) <= 1.0


def test_few_brands_get_another_word_and_all_stay_themselves():
    """Without any list of known words, on a catalog that has few of them; it was every third, which then vanished."""
    index = LexicalIndex.build(titles_of("homedepot"), LexicalSettings())
    read = [index.reader.read(brand) for brand in BRANDS]
    assert [each.terms[0] for each in read] == [index.reader.analyzer.stem(brand) for brand in BRANDS]
    assert sum(bool(each.corrections) for each in read) <= len(BRANDS) // 12
    known = query_reader([index], frozenset(BRANDS))
    assert not any(known.read(brand).corrections for brand in BRANDS)
