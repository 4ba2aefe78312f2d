"""Ask for the ads that a page has room for: filtered, few of one kind, with what the page shows of each.

Builds an engine from a list in memory. Every column that Intently has no field for (price, url, color) is the ad's
payload: it comes back with the ad, conditions can ask about it, and at most so many ads of one value are returned. With
a file of ads the same is done to its first 500 rows.

    python examples/filters_and_caps.py [ADS.tsv]
"""

import csv
import gzip
import sys
from itertools import islice
from pathlib import Path

from intently import Engine, Patch, Request
from intently.filters import column

ADS = [
    {"ad_id": "s1", "title": "Trail running shoes, red", "brand": "Acme", "price": 89, "item_group_id": "trail"},
    {"ad_id": "s2", "title": "Trail running shoes, blue", "brand": "Acme", "price": 79, "item_group_id": "trail"},
    {"ad_id": "s3", "title": "Road running shoes", "brand": "Acme", "price": 49, "item_group_id": "road"},
    {"ad_id": "s4", "title": "越野跑鞋 男 防滑", "brand": "Peak", "price": 39, "url": "https://example.org/s4"},
    {"ad_id": "s5", "title": "Running shoes for women", "brand": "Peak"},
    {"ad_id": "h1", "title": "Garden hose", "brand": "Drip", "price": 19},
]


def main(path: Path | None = None) -> None:
    ads = ADS if path is None else first_rows(path, 500)
    engine = Engine.build(ads, preset="instant")
    query = "running shoes" if path is None else "hdmi cable"
    shown = ("title", "brand", "price")

    show(engine, "Everything", Request(query, k=5, payload=shown))
    show(engine, "A filter", Request(query, k=5, payload=shown, filters="price < 80 and not brand == 'Drip'"))
    as_object = (column("price") < 80) & ~(column("brand") == "Drip")
    show(engine, "The same as an object", Request(query, k=5, payload=shown, filters=as_object))
    show(engine, "Without a price", Request(query, k=5, payload=shown, filters="price is missing"))
    show(engine, "One of a brand", Request(query, k=5, payload=shown, max_per={"brand": 1}))
    if path is None:
        show(engine, "One of a group of variants", Request(query, k=5, payload=shown, max_per={"group_id": 1}))
        sale = engine.ad("s1").payload | {"price": 29, "sale": True}
        engine.apply([Patch("s1", {"payload": sale})])  # no model reads the ad again
        show(engine, "On sale now", Request("跑鞋", payload=shown, filters="sale == true"))


def show(engine: Engine, what: str, request: Request) -> None:
    print(f"{what}: {request.query if request.filters is None else request.filters}")
    for ad in engine.answer(request):
        print(f"  {ad.rank} {ad.ad_id:<8} " + " | ".join(str(value)[:50] for value in ad.payload.values()))


def first_rows(path: Path, number: int) -> list[dict[str, object]]:
    """Return the first rows of a file, prices as numbers; of price 0, which says that it is not known, without one."""
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt", encoding="utf-8", newline="") as file:
        rows = islice(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), number)
        return [row | {"price": float(row["price"]) or None} for row in rows]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
