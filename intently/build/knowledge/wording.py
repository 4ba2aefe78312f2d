"""Reasoning in words: short sentences about facts, in several wordings, so that models learn facts and not one form.

Nothing is said that was not found in the data: every sentence stands for a field of `Facts`, and falls away without it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from intently.build.knowledge.instances import Task
from intently.intentions.candidates import join_words


@dataclass(frozen=True)
class Facts:
    """What is known of a query or an ad."""

    thing: str = ""  # what the clicked ads, or the ad, are
    words: tuple[str, ...] = ()  # of the query, that are in the thing's name
    is_named: bool = False  # the query names the thing in full
    brand: str = ""
    measure: str = ""  # words of the query with a digit
    misspelt: str = ""  # a word of the query that seems to be
    category: tuple[str, ...] = ()  # levels, the broadest first
    queries: tuple[str, ...] = ()  # that led to the ad


# One list of wordings a fact; a fact's name is what the wording needs.
_QUERY = {
    "en": {
        "thing_said": (
            "“{words}” hints at {thing}.",
            "Here “{words}” stands for {thing}.",
            "“{words}” is how some ask for {thing}.",
            "Judging by “{words}”, this is about {thing}.",
        ),
        "thing_named": (
            "The user names what is wanted: {thing}.",
            "The query says it in full: {thing}.",
            "A plain name, {thing}.",
            "Whoever asks for {thing} means to buy it.",
        ),
        "thing": (
            "Users who type this choose {thing}.",
            "What users take after this query: {thing}.",
            "In a shop’s words: {thing}.",
            "This asks for {thing}.",
        ),
        "brand": ("{brand} is a brand.", "The user names the brand {brand}.", "{brand} is the maker."),
        "measure": (
            "“{measure}” narrows size or model.",
            "“{measure}” is a size, number or model.",
            "“{measure}” is a detail.",
        ),
        "misspelt": ("“{misspelt}” looks misspelt.", "“{misspelt}” is probably a typing mistake."),
        "category": ("It belongs to {category}.", "Category: {category}.", "Shops keep it under {category}."),
    },
    "zh": {
        "thing_named": ("用户直接说出了要买的东西：{thing}。", "查询里就写着{thing}。", "要的就是{thing}。"),
        "thing_said": ("“{words}”说明想买{thing}。", "从“{words}”可知要找{thing}。", "搜“{words}”的人要的是{thing}。"),
        "thing": ("搜这个词的人多选{thing}。", "用户实际想要{thing}。", "换句话说，就是{thing}。"),
        "brand": ("{brand}是品牌。", "用户点名要{brand}。", "认准的品牌是{brand}。"),
        "measure": ("“{measure}”是规格或型号。", "“{measure}”限定了尺寸或型号。"),
        "misspelt": ("“{misspelt}”像是拼错了。", "“{misspelt}”可能是错拼。"),
        "category": ("属于{category}。", "类目：{category}。", "归在{category}下面。"),
    },
}
_AD = {
    "en": {
        "thing": ("The ad sells {thing}.", "On offer: {thing}.", "This is about {thing}.", "It offers {thing}."),
        "brand": ("The brand is {brand}.", "{brand} makes it.", "It is by {brand}."),
        "queries": (
            "Users find it with “{queries}”.",
            "Queries that led to it: “{queries}”.",
            "Who asks for “{queries}” takes it.",
        ),
        "category": _QUERY["en"]["category"],
    },
    "zh": {
        "thing": ("这条广告卖{thing}。", "卖的是{thing}。", "主推{thing}。"),
        "brand": ("品牌是{brand}。", "{brand}出品。"),
        "queries": ("用户搜“{queries}”会点它。", "搜过“{queries}”的人选了它。"),
        "category": _QUERY["zh"]["category"],
    },
}


def reasoning(task: Task, language: str, facts: Facts, rng: random.Random) -> str:
    """Return what the facts say in two or three sentences, worded by chance; "" when nothing is known."""
    wordings = (_QUERY if task is Task.QUERY_INTENT else _AD)[language]
    kinds = ["thing"] if facts.thing else []
    if facts.thing and task is Task.QUERY_INTENT and (facts.is_named or facts.words):
        kinds = ["thing_named" if facts.is_named else "thing_said"]
    details = [kind for kind in ("brand", "measure", "misspelt", "queries", "category") if getattr(facts, kind)]
    chosen = kinds + [kind for kind in details if kind in wordings][:2]
    if len(chosen) > 1 and chosen[1] in ("brand", "misspelt") and rng.random() < 0.5:
        chosen[:2] = chosen[1], chosen[0]  # what a word is may also be said before what is wanted
    told = {
        "thing": facts.thing,
        "words": " ".join(facts.words) if language == "en" else join_words(facts.words),
        "brand": facts.brand,
        "measure": facts.measure,
        "misspelt": facts.misspelt,
        "queries": _listed(facts.queries[:2], language),
        "category": " > ".join(facts.category),
    }
    separator = "" if language == "zh" else " "
    return separator.join(rng.choice(wordings[kind]).format(**told) for kind in chosen)


def _listed(texts: Sequence[str], language: str) -> str:
    return ("”和“" if language == "zh" else "” and “").join(texts)
