"""The intention index: the vocabulary, its trie, and the postings from intentions to ads."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from intently.arrays import IntArray
from intently.errors import ArtifactError, SettingsError
from intently.files import write_text
from intently.index.near import NearIntentions
from intently.index.phrases import PhraseTable, PhraseWords
from intently.index.posting_weights import PostingStatistics
from intently.index.postings import Postings
from intently.intentions.trie import Trie
from intently.text.analyze import Analyzer
from intently.text.query_text import QueryText


@dataclass(frozen=True)
class IntentionIndex:
    """I intentions: `texts[i]` names intention i, `postings` lead from it to ads.

    `statistics` are those that the postings were weighed with. Models need two more: `trie` admits the tokens of the
    intentions, `near` finds them by embeddings. Both are None where intentions are found word by word alone.
    """

    texts: tuple[str, ...]
    trie: Trie | None
    postings: Postings
    analyzer: Analyzer
    statistics: PostingStatistics
    near: NearIntentions | None
    phrase_words: PhraseWords | None = None  # of the texts; read when they are needed, if not given

    @cached_property
    def version(self) -> str:
        """What tells this vocabulary from any other: the SHA-256, in hex, of its texts in order."""
        return hashlib.sha256(json.dumps(self.texts, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def phrases(self) -> PhraseTable:
        """What finds the intentions word by word in texts."""
        return PhraseTable(self.texts, self.analyzer, self.phrase_words)

    def literal(self, query: str | QueryText) -> IntArray:
        """Return the ids of the intentions that a query contains word by word, its spelling corrected.

        A `QueryText` is corrected as it was read, a bare text by the words of the intentions.
        """
        if isinstance(query, QueryText):
            return self.phrases.of_query(query)
        return self.phrases.within(query, correct_spelling=True)

    def given(self, title: str, keywords: Iterable[str]) -> IntArray:
        """Return the ids of the intentions that an ad names itself: those in its title, and those it bids on."""
        return self.phrases.given(title, keywords)

    def save(self, directory: Path) -> None:
        """Write the texts, postings and statistics, and what models need, into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        content = {"stemmer": self.analyzer.stemmer, "texts": self.texts, "phrases": self.phrases.made_of.told()}
        write_text(directory / "intentions.json", json.dumps(content, ensure_ascii=False))
        self.postings.save(directory / "postings.npz")
        self.statistics.save(directory / "statistics.npz")
        if self.trie and self.near:
            self.trie.save(directory / "intentions.trie")
            self.near.save(directory)

    @classmethod
    def load(cls, directory: Path, *, for_models: bool = True) -> "IntentionIndex":
        """Read what `save` wrote, with what models need or without; raise `ArtifactError` naming a file not of that."""
        path = directory / "intentions.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            texts, analyzer = content["texts"], Analyzer(content["stemmer"])
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise ValueError("the texts are no list of texts")
            words = PhraseWords.of(content["phrases"]) if "phrases" in content else None  # not in older generations
            if words and not set(words.ids.values()) <= set(range(len(texts))):
                raise ValueError("its phrases are of other texts")
        except (OSError, ValueError, TypeError, KeyError, SettingsError) as error:
            raise ArtifactError(f"{path} does not hold intentions ({error}); build the engine again") from error
        postings = Postings.load(directory / "postings.npz")
        trie = Trie.load(directory / "intentions.trie") if for_models else None
        near = NearIntentions.load(directory) if for_models else None
        held = {"the postings": postings.num_keys}
        if trie and near:
            held |= {"the trie": trie.num_intentions, "the embeddings": len(near.vectors.embeddings)}
        if set(held.values()) != {len(texts)}:
            told = ", ".join(f"{part} {num}" for part, num in held.items())
            raise ArtifactError(f"{path} has {len(texts)} intentions, {told}; build the engine again")
        statistics = PostingStatistics.load(directory / "statistics.npz", len(texts))
        index = cls(tuple(texts), trie, postings, analyzer, statistics, near, words)
        index.literal("")  # neither the first query nor the first new ad should wait for the terms of all texts
        return index
