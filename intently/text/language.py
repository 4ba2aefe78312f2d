"""The language of a catalog's titles, as the stemmer needs it."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from intently.text.normalize import has_han

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

AUTO = "auto"  # the stemmer of the titles' language
_ENGLISH = "english"
# ISO 639 code → Snowball's name.
_STEMMERS = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "cs": "czech", "da": "danish", "nl": "dutch",
    "en": _ENGLISH, "et": "estonian", "fi": "finnish", "fr": "french", "de": "german", "el": "greek", "hi": "hindi",
    "hu": "hungarian", "id": "indonesian", "ga": "irish", "it": "italian", "lt": "lithuanian", "ne": "nepali",
    "no": "norwegian", "fa": "persian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sr": "serbian", "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
# Without a stemmer, but what they are must not be taken for a language that has one.
_OTHERS = ("zh", "ja", "ko", "th", "vi", "he", "uk", "bg", "hr", "sk", "sl", "lv", "ms")
_SAMPLE = 2_000  # titles that are looked at, evenly spread
_TOGETHER = 5  # titles that are read as one text, as one alone may be a brand and a number
_MIN_SHARE = 0.5  # of the texts, that another language than English needs


def stemmer_of(titles: Sequence[str]) -> tuple[str, float]:
    """Return the Snowball stemmer of most titles' language, and the share of titles, read five at a time, that have it.

    Chinese titles are left out, as their words have no endings. English is the answer for titles without letters, for
    languages without a stemmer, and where no language has half of the titles. Cost: 0.1 ms a title, 2,000 titles at
    most, and some 0.5 s for the first call, which loads the model.
    """
    step = max(len(titles) // _SAMPLE, 1)
    sample = [title for title in titles[::step] if not has_han(title) and any(letter.isalpha() for letter in title)]
    texts = [" ".join(sample[at : at + _TOGETHER]) for at in range(0, len(sample), _TOGETHER)]
    if not texts:
        return _ENGLISH, 0.0
    counts = Counter(_identifier().classify(text)[0] for text in texts)
    language, number = counts.most_common(1)[0]
    if language not in _STEMMERS or number < _MIN_SHARE * len(texts):
        language = "en"
    return _STEMMERS[language], counts[language] / len(texts)


@cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # now, as few commands need it

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages([*_STEMMERS, *_OTHERS])
    return identifier
