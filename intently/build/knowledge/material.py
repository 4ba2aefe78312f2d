"""What instances are composed of: ads, clicked queries and categories, looked up from either side."""

from dataclasses import dataclass, field
from functools import cached_property

from intently.build.knowledge.phrases import TitlePhrases, clean
from intently.build.knowledge.taxonomy import Taxonomy
from intently.catalog import Catalog, Judgements
from intently.errors import InputError
from intently.text.analyze import Analyzer
from intently.text.normalize import has_han

MAX_QUERY_CHARS = 80
_MAX_AD_CHARS = 160


@dataclass(frozen=True, eq=False)
class Material:
    """Ads as columns of N, clicks as rows from either side, and what finds the things that titles name."""

    titles: list[str]
    descriptions: list[str]
    categories: list[str]
    advertisers: list[str]
    keywords: list[list[str]]
    queries: tuple[str, ...]
    ads_of: dict[int, list[int]]  # query_row → the ads clicked for it
    queries_of: dict[int, list[int]]  # ad_row → the queries that led to it
    taxonomy: Taxonomy
    phrases: TitlePhrases
    num_unknown_ads: int = 0
    path_of: dict[str, tuple[str, ...]] = field(default_factory=dict)  # key of a category's name → its path

    @classmethod
    def gather(
        cls,
        catalog: Catalog,
        judgements: Judgements | None,
        asked: tuple[str, ...],
        taxonomy: Taxonomy,
        min_relevance: float | None,
    ) -> "Material":
        """Join a catalog with its clicks; `asked` are queries that users typed, clicked or not.

        Raises InputError when no click names an ad of the catalog.
        """
        ads_of: dict[int, list[int]] = {}
        queries_of: dict[int, list[int]] = {}
        num_unknown = 0
        if judgements is not None:
            ad_rows = catalog.ad_rows(judgements.ad_ids)
            positive = (ad_rows >= 0) & judgements.positives(min_relevance)
            num_unknown = int((ad_rows < 0).sum())
            if num_unknown == len(ad_rows):
                raise InputError("no click names an ad of the catalog", cure="check that both files use the same ids")
            for query_row, ad_row in zip(
                judgements.query_rows[positive].tolist(), ad_rows[positive].tolist(), strict=True
            ):
                ads_of.setdefault(query_row, []).append(ad_row)
                queries_of.setdefault(ad_row, []).append(query_row)
        queries = judgements.queries if judgements else ()
        titles = [clean(title) for title in catalog.strings("title")]
        phrases = TitlePhrases(titles, {*queries, *asked, *taxonomy.names()}, Analyzer())
        return cls(
            titles,
            catalog.strings("description"),
            catalog.strings("category"),
            catalog.strings("advertiser"),
            catalog.bare_keywords(),
            tuple(clean(query) for query in queries),
            ads_of,
            queries_of,
            taxonomy,
            phrases,
            num_unknown,
            taxonomy.by_name(phrases.key),
        )

    def ad_text(self, ad_row: int) -> str:
        """Return the title, and as much of the description as keeps the whole short."""
        text = " | ".join(part for part in (self.titles[ad_row], clean(self.descriptions[ad_row])) if part)
        if len(text) <= _MAX_AD_CHARS:
            return text
        cut = text[:_MAX_AD_CHARS]
        return (cut if has_han(cut) else cut.rsplit(" ", 1)[0]).strip(" |")

    def brand(self, ad_row: int) -> str:
        """Return the advertiser if the title names it, or else the brand that the title begins with; "" for none."""
        advertiser = clean(self.advertisers[ad_row])
        key = self.phrases.key(advertiser)
        if key and key in self.phrases.key(self.titles[ad_row]):
            return advertiser
        return self.phrases.brand(self.titles[ad_row])

    def things(self, ad_row: int) -> tuple[str, ...]:
        """Return the phrases of the title that name what is sold, the most specific first; the brand is none."""
        brand = self.phrases.key(self.brand(ad_row))
        return tuple(name for name in self.phrases.find(self.titles[ad_row]) if self.phrases.key(name) not in brand)

    @cached_property
    def advertiser_stems(self) -> frozenset[str]:
        """The first word of every advertiser's name."""
        return frozenset(stem for name in set(self.advertisers) for stem in self.phrases.stems(name)[:1])
