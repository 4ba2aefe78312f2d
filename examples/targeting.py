"""See which ads a user may be shown.

Shows how an ad's targeting meets a `UserContext`: an empty field reaches everybody, an unknown fact about the user
filters nothing, and ads that are paused are never shown. Needs no PyTorch and takes a second.

    python examples/targeting.py
"""

from datetime import datetime

from intently import Ad, UserContext
from intently.catalog import Catalog, checked_user
from intently.snapshot.attributes import Attributes

ADS = (
    Ad("everybody", "Noise-cancelling headphones"),
    Ad("us-only", "Headphones, next-day delivery", countries=("US",), languages=("en",)),
    Ad("cn-only", "降噪耳机 当日达", countries=("CN",), languages=("zh",)),
    Ad("bilingual", "Bluetooth 耳机 官方旗舰店", languages=("zh", "en"), devices=("mobile",)),
    Ad("office-hours", "Headset for call centres", day_parts=("mon-fri@9-18",)),
    Ad("commuters", "通勤降噪耳机", audiences=("commuters", "students")),
    Ad("paused", "Headphones, sold out", status="paused"),
)
USERS = {
    "nothing known": None,
    "in the US, on a desktop": UserContext(country="US", language="en", device="desktop"),
    "in China, on a phone": UserContext(country="CN", language="zh", device="mobile"),
    "country unknown, reads Chinese": UserContext(language="zh"),
    "Tuesday, 10:30": UserContext(time=datetime(2026, 3, 3, 10, 30)),
    "Saturday, 10:30": UserContext(time=datetime(2026, 3, 7, 10, 30)),
    "a student": UserContext(audiences=frozenset({"students"})),
    "in no audience": UserContext(audiences=frozenset()),
}


def main() -> None:
    catalog = Catalog.from_ads(ADS)
    attributes = Attributes.of(catalog)
    ad_ids = catalog.strings("ad_id")
    for name, user in USERS.items():
        eligible = attributes.eligible(checked_user(user))
        shown = [ad_id for ad_id, may in zip(ad_ids, eligible.tolist(), strict=True) if may]
        print(f"{name:<31} {', '.join(shown)}")
    print("\nAn engine filters before it fuses, on every path: engine.retrieve(query, user=UserContext(...)).")


if __name__ == "__main__":
    main()
