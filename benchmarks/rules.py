"""Measure what the rules about who sees an ad cost a query.

    python benchmarks/rules.py [--ads 20000] [--sets 2000] [--negatives 500] [--queries 400] [--seed 19]

Builds two engines without models over the same synthetic ads, English and Chinese. The ads of one carry rules:
`--negatives` negative keywords each, in `--sets` different lists (the ads of an ad group share theirs), a condition of
three conjunctions, keywords with match types, and two shared lists; block lists hold an advertiser, a label and 100
ads. Every query is answered by both, in turns, with a user who states four values and a cap of two ads an advertiser.
Prints a table of milliseconds, of the whole answer and of the stage `rules` alone, and last one JSON line with the
machine. The processor's time tells more than the clock's on a machine that has other work.

    python benchmarks/rules.py --pairs 1000000 [--preset instant]

compares so many decisions of a snapshot about an ad and a query with the plain rules, and the answers of every channel
with both: how often was an ad shown that a negative keyword forbids, or kept out that none forbids. Every query is
answered twice by the fusion, the second time from the runtime cache if the preset has models.

    python benchmarks/rules.py --conditions 580000

measures the index of targeting alone: so many different conditions of up to three conjunctions of up to five
comparisons, users who state eight values; milliseconds for a user, and bytes a condition.
"""

import argparse
import json
import os
import platform
import random
import time
from dataclasses import replace
from datetime import date

import numpy as np
from rich.console import Console
from rich.table import Table

from intently import Ad, Engine
from intently.catalog import checked_user
from intently.engine.cache_store import MemoryStore
from intently.engine.eligibility import verdict
from intently.engine.head_queries import HeadQueries
from intently.engine.runtime_cache import RuntimeCache
from intently.index.targeting import TargetingIndex
from intently.rules.targeting import parse_targeting
from intently.types import BlockList, Channel, PutList, Request, UserContext

THINGS = (
    "garden hose", "robot vacuum", "running shoes", "wool socks", "electric kettle", "drill bit", "winter jacket",
    "花园水管", "扫地机器人", "跑步鞋", "羊毛袜", "电热水壶", "冬季外套",
)  # fmt: skip
KINDS = ("red", "cheap", "light", "large", "quiet", "men's", "kids", "红色", "便宜", "轻便", "大号", "静音", "男士")
UNWANTED = ("free", "used", "jobs", "repair", "manual", "wholesale", "免费", "二手", "招聘", "维修", "说明书", "批发")
WORDS = (*THINGS, *KINDS, *UNWANTED)
COUNTRIES = ("DE", "AT", "US", "CN", "FR", "GB", "JP", "BR")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ads", type=int, default=20_000)
    parser.add_argument("--sets", type=int, default=2_000, help="different lists of negative keywords")
    parser.add_argument("--negatives", type=int, default=500, help="negative keywords of an ad")
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--pairs", type=int, default=0, help="check so many decisions instead of measuring")
    parser.add_argument("--preset", default="lexical", help="of the engine whose decisions are checked")
    parser.add_argument("--conditions", type=int, default=0, help="measure so many conditions alone")
    options = parser.parse_args()

    draw = random.Random(options.seed)
    if options.pairs:
        print(json.dumps(check(draw, options.pairs, options.preset)))
        return
    if options.conditions:
        print(json.dumps(measure_targeting(draw, options.conditions)))
        return
    ads = [plain_ad(draw, number) for number in range(options.ads)]
    plain = Engine.build(ads, preset="lexical")
    began = time.perf_counter()
    ruled = Engine.build(with_rules(ads, draw, options.sets, options.negatives), preset="lexical")
    ruled.apply([
        PutList("account", ("casino", "[赌博]")), PutList("campaign", ("crack", "torrent", "破解")),
        PutList(BlockList.ADVERTISERS, ("Shop 1",)), PutList(BlockList.LABELS, ("alcohol",)),
        PutList(BlockList.ADS, tuple(ad.ad_id for ad in ads[:100])), PutList(BlockList.TERMS, ("bomb",)),
    ])  # fmt: skip
    built_s = time.perf_counter() - began

    figures: dict[str, list[tuple[float, float, float]]] = {"without rules": [], "with rules": []}
    for number in range(options.queries + 20):
        request = a_request(draw)
        for name, engine in (("without rules", plain), ("with rules", ruled)):
            clock, processor = time.perf_counter(), time.thread_time()
            ranking = engine.answer(request)
            spent = (time.perf_counter() - clock) * 1000, (time.thread_time() - processor) * 1000
            if number >= 20:  # the first queries warm up
                figures[name].append((*spent, ranking.timings_ms["rules"]))

    table = Table("", "p50", "p99", "processor p50", "processor p99", "rules p50", "rules p99")
    told: dict[str, object] = {}
    for name, rows in figures.items():
        values = np.percentile(np.array(rows), (50, 99), axis=0).T.ravel()
        table.add_row(name, *(f"{value:.2f}" for value in values))
        told[name] = [round(float(value), 3) for value in values]
    Console().print(table)
    told |= {"date": date.today().isoformat(), "machine": platform.machine(), "cores": os.cpu_count()}
    print(json.dumps(told | vars(options) | {"load": os.getloadavg()[0], "built_with_rules_s": round(built_s, 1)}))


def check(draw: random.Random, num_pairs: int, preset: str) -> dict[str, object]:
    """Return how many decisions about random ads and queries differ from the plain rules, and what channels show."""
    marks = ("{}", "[{}]", '"{}"', "-{}")

    def negatives(most: int) -> tuple[str, ...]:
        return tuple(draw.choice(marks).format(draw.choice(WORDS)) for _ in range(draw.randint(0, most)))

    levels = ("ad group", "campaign", "advertiser", "account")
    ads = [
        replace(plain_ad(draw, at), negative_keywords=negatives(4), negative_lists=tuple(draw.sample(levels, 2)))
        for at in range(1_000)
    ]
    engine = Engine.build(ads, preset=preset)
    if engine.student is not None:
        store, num_intentions = MemoryStore(1_000), len(engine.intentions.texts)
        engine.runtime_cache = RuntimeCache(
            store, HeadQueries(), engine.generation, engine.models, engine.settings, num_intentions
        )
    engine.apply([PutList(level, negatives(3)) for level in levels])
    snapshot, by_id = engine.snapshot, {ad.ad_id: ad for ad in ads}
    asked = (*engine.channels, Channel.KEYWORD, Channel.FUSED, Channel.FUSED)
    told = {"pairs": 0, "refused": 0, "differ": 0, "shown": 0, "shown_though_refused": 0, "answered_from_the_cache": 0}
    while told["pairs"] < num_pairs:
        query = " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 4)))
        request = Request(query, k=50)
        admits = {
            ad_id: all(each.admits for each in verdict(ad, request, snapshot.lists, known=snapshot.known_words))
            for ad_id, ad in by_id.items()
        }
        eligible = snapshot.eligible(checked_user(None), engine.read(query).normalized)
        told["pairs"] += len(ads)
        told["refused"] += len(ads) - sum(admits.values())
        told["differ"] += sum(bool(may) != admits[snapshot.ad_id(row)] for row, may in enumerate(eligible.tolist()))
        for channel in asked:
            ranking = engine.answer(replace(request, channel=channel))
            told["answered_from_the_cache"] += ranking.cached
            for ad in ranking:
                told["shown"] += 1
                told["shown_though_refused"] += not admits[ad.ad_id]
    return told | {"channels": sorted({str(channel) for channel in asked}), "preset": preset}


def measure_targeting(draw: random.Random, num_conditions: int) -> dict[str, object]:
    """Return what an index of many different conditions costs: milliseconds for a user, bytes a condition."""
    names = {f"segment_{number}": range(200) for number in range(4)} | {"age": range(14, 90), "income": range(1_000)}
    names |= {"country": COUNTRIES, "plan": ("pro", "free", "trial")}
    forms = {int: ("{} == {}", "{} >= {}", "{} < {}", "not {} == {}"), str: ("{} == {}", "not {} == {}")}

    def conjunction() -> str:
        parts = []
        for name in draw.sample(sorted(names), draw.randint(1, 5)):
            value = draw.choice(names[name])
            parts.append(draw.choice(forms[type(value)]).format(name, json.dumps(value)))
        return " and ".join(parts)

    texts = [" or ".join(f"({conjunction()})" for _ in range(draw.randint(1, 3))) for _ in range(num_conditions)]
    began = time.process_time()
    conditions = [parse_targeting(text) for text in texts]
    parsed_s = time.process_time() - began
    index = TargetingIndex.build(conditions)
    built_s = time.process_time() - began - parsed_s
    spent, admitted = [], []
    for number in range(320):
        user = {name: draw.choice(values) for name, values in names.items()}
        began = time.thread_time()
        found = index.true_of(user)
        if number >= 20:
            spent.append((time.thread_time() - began) * 1000)
            admitted.append(int(found.sum()))
    p50, p99 = np.percentile(spent, (50, 99))
    return {
        "conditions": num_conditions, "conjunctions": len(index.sizes), "parsed_s": round(parsed_s, 1),
        "built_s": round(built_s, 1), "bytes_a_condition": round(array_bytes(index) / num_conditions),
        "true_of_a_user": round(float(np.mean(admitted))),
        "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2),
    }  # fmt: skip


def array_bytes(index: TargetingIndex) -> int:
    """Return the bytes of the arrays of an index of targeting."""
    arrays = (index.sizes, index.owners, index.needs.offsets, index.needs.values, index.kills.offsets)
    return sum(each.nbytes for each in (*arrays, index.kills.values))


def plain_ad(draw: random.Random, number: int) -> Ad:
    """Return one ad without rules."""
    thing, kind = draw.choice(THINGS), draw.choice(KINDS)
    return Ad(f"a{number}", f"{kind} {thing} {number % 997}", keywords=(thing, f"{kind} {thing}"),
              advertiser=f"Shop {number % 500}")  # fmt: skip


def with_rules(ads: list[Ad], draw: random.Random, num_sets: int, num_negatives: int) -> list[Ad]:
    """Return the ads with rules."""
    pool = [negative(draw, number) for number in range(40 * num_negatives)]
    sets = [tuple(draw.sample(pool, num_negatives)) for _ in range(num_sets)]
    conditions = [condition(draw) for _ in range(max(1, len(ads) // 4))]
    marks = ("[{}]", '"{}"', "{}")
    return [
        replace(
            ad,
            keywords=tuple(draw.choice(marks).format(each) for each in ad.keywords),
            negative_keywords=sets[number % num_sets],
            negative_lists=("account", "campaign") if number % 2 else ("account",),
            targeting=draw.choice(conditions),
            labels=("alcohol",) if number % 50 == 0 else (),
        )
        for number, ad in enumerate(ads)
    ]


def negative(draw: random.Random, number: int) -> str:
    """Return a negative keyword: a thing or a kind that is not sold, in any match type."""
    text = (
        f"{draw.choice(UNWANTED)} {draw.choice((*THINGS, *KINDS))} {number}" if number % 20 else draw.choice(UNWANTED)
    )
    return draw.choice(("{}", "{}", '"{}"', "[{}]")).format(text)


def condition(draw: random.Random) -> str:
    """Return a condition of three conjunctions, which most users meet."""
    low = draw.randint(14, 40)
    own = ", ".join(f'"{country}"' for country in draw.sample(COUNTRIES, 5))
    return (
        f'(country in ({own}) and age >= {low}) or (not country == "{draw.choice(COUNTRIES)}" and plan == "pro") '
        f'or (interests has "{draw.choice(THINGS)}" and age < {low + 30})'
    )


def a_request(draw: random.Random) -> Request:
    """Return a query for a thing, now and then with a word that negatives name, by a user who states four values."""
    query = f"{draw.choice(KINDS)} {draw.choice(THINGS)}"
    if draw.random() < 0.3:
        query = f"{draw.choice(UNWANTED)} {query}"
    attributes = {
        "age": draw.randint(14, 80),
        "plan": draw.choice(("pro", "free")),
        "interests": draw.sample(THINGS, 3),
    }
    user = UserContext(country=draw.choice(COUNTRIES), attributes=attributes)
    return Request(query, k=10, user=user, max_per={"advertiser": 2})


if __name__ == "__main__":
    main()
