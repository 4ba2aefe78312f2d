"""Semantic complexity: which ads need a generative model most (BRIDGE, "dual-model augmentation pipeline").

    w(ad) = σ(a · rare-term ratio + b · OCR noise + c · length entropy + d)

The paper names the three features and no more. They are standardised over the catalog here, so that a, b and c weigh
them alike whatever their scales, and d = 0 gives the ordinary ad one half.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import Float64Array, IntArray
from intently.catalog import Catalog
from intently.settings import check_range
from intently.text.analyze import Analyzer


@dataclass(frozen=True)
class ComplexitySettings:
    """How much each feature counts, and when a term is rare."""

    rare_terms: float = 1.0  # a
    ocr_noise: float = 1.0  # b
    length_entropy: float = 1.0  # c
    offset: float = 0.0  # d
    rare_below: int = 3  # a term of fewer ads than this is rare

    def __post_init__(self) -> None:
        check_range(self, "rare_terms", "ocr_noise", "length_entropy", "offset", low=-100, high=100)
        check_range(self, "rare_below", low=1)


@dataclass(frozen=True, eq=False)
class ComplexityFeatures:
    """What makes an ad complex, each (N,), none standardised yet."""

    rare_terms: Float64Array
    ocr_noise: Float64Array
    length_entropy: Float64Array


def complexity_features(catalog: Catalog, analyzer: Analyzer, settings: ComplexitySettings) -> ComplexityFeatures:
    """Return the three features of every ad.

    - *rare-term ratio*: the share of the distinct terms of title and description that fewer than `rare_below` ads have.
    - *OCR noise*: of a landing page read by OCR, the mean of 1 − confidence over its characters; of one given as text,
      the share of its words that no ad's title, description, category or bid keywords have; 0 without a landing page.
    - *length entropy*: the entropy in nats of the terms of title and description. It is the logarithm of the
      *effective* number of different terms, so it grows with the text's length unless the text repeats itself. (The
      entropy of the terms' lengths, the other reading of the name, says nothing of Chinese, whose words are nearly all
      of two characters.)

    Cost: every text is analysed once.
    """
    written = (text for batch in catalog.iter_text("title", "description") for text in batch)
    rare, entropy = _term_features((analyzer.terms(text) for text in written), settings.rare_below)
    return ComplexityFeatures(rare, _ocr_noise(catalog, analyzer), entropy)


def semantic_complexity(features: ComplexityFeatures, settings: ComplexitySettings) -> Float64Array:
    """Return w (N,) in (0, 1) from features that are standardised over the catalog; a constant one counts nothing."""
    total = (
        settings.rare_terms * _standardised(features.rare_terms)
        + settings.ocr_noise * _standardised(features.ocr_noise)
        + settings.length_entropy * _standardised(features.length_entropy)
        + settings.offset
    )
    return 0.5 * (1.0 + np.tanh(0.5 * total))  # σ, without overflow


def _standardised(values: Float64Array) -> Float64Array:
    spread = float(values.std()) if len(values) else 0.0
    if spread < 1e-12:
        return np.zeros_like(values)
    standardised: Float64Array = (values - values.mean()) / spread
    return standardised


def _term_features(documents: Iterable[list[str]], rare_below: int) -> tuple[Float64Array, Float64Array]:
    """Return the rare-term ratio (N,) and the entropy (N,) of documents given as terms."""
    ids: dict[str, int] = {}
    flat: list[int] = []
    lengths: list[int] = []
    for terms in documents:
        lengths.append(len(terms))
        flat.extend(ids.setdefault(term, len(ids)) for term in terms)
    num_ads, length = len(lengths), np.array(lengths, dtype=np.int64)
    num_terms = max(len(ids), 1)
    keys = np.repeat(np.arange(num_ads), length) * num_terms + np.array(flat, dtype=np.int64)
    pairs, counts = np.unique(keys, return_counts=True)
    rows, terms_of = np.divmod(pairs, num_terms)
    is_rare = np.bincount(terms_of, minlength=num_terms)[terms_of] < rare_below
    distinct = np.bincount(rows, minlength=num_ads)
    rare = np.bincount(rows, weights=is_rare, minlength=num_ads) / np.maximum(distinct, 1)
    shares = counts / length[rows]
    entropy = np.bincount(rows, weights=-shares * np.log(shares), minlength=num_ads)
    return rare, entropy.astype(np.float64)


def _ocr_noise(catalog: Catalog, analyzer: Analyzer) -> Float64Array:
    num_chars, doubt = _span_doubt(catalog.column("landing_spans"))
    noise: Float64Array = doubt / np.maximum(num_chars, 1)
    given_as_text = (num_chars == 0) & (np.array(pc.utf8_length(catalog.column("landing_text"))) > 0)
    if given_as_text.any():
        noise[given_as_text] = _unknown_words(catalog, analyzer, np.flatnonzero(given_as_text))
    return noise


def _span_doubt(column: pa.ChunkedArray) -> tuple[IntArray, Float64Array]:
    """Return how many characters (N,) OCR read of each ad, and the sum (N,) of 1 − confidence over them."""
    nums, doubts = [np.empty(0, dtype=np.int64)], [np.empty(0)]
    for spans in column.chunks:
        flat, parents = pc.list_flatten(spans), np.array(pc.list_parent_indices(spans), dtype=np.int64)
        chars = np.array(pc.utf8_length(pc.struct_field(flat, "text")), dtype=np.int64)
        confidence = np.array(pc.struct_field(flat, "confidence"), dtype=np.float64)
        nums.append(np.bincount(parents, weights=chars, minlength=len(spans)).astype(np.int64))
        doubts.append(np.bincount(parents, weights=chars * (1 - confidence), minlength=len(spans)).astype(np.float64))
    return np.concatenate(nums), np.concatenate(doubts)


def _unknown_words(catalog: Catalog, analyzer: Analyzer, rows: IntArray) -> Float64Array:
    """Return for each of `rows` the share of its landing page's words that nothing else in the catalog has."""
    names = ("title", "description", "category", "keywords")
    known = {word for batch in catalog.iter_text(*names) for text in batch for word in analyzer.words(text)}
    shares = []
    landing = catalog.column("landing_text").take(pa.array(rows))
    for text in landing.to_pylist():
        words = analyzer.words(text)
        shares.append(sum(word not in known for word in words) / max(len(words), 1))
    return np.array(shares)
