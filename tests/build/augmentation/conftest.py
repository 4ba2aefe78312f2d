"""What the tests of augmentation share: a few ads in two languages, and their clicks."""

from collections.abc import Callable

import numpy as np
import pytest

from intently.build.augmentation.records import AdsAndClicks
from intently.catalog import Catalog
from intently.types import Ad

ADS = (
    Ad("a", "Acme electric kettle", "Boils water fast, 1.7 l, free post", keywords=("electric kettle", "tea maker")),
    Ad("b", "Acme red frying pan", "A pan for eggs", keywords=("frying pan",)),
    Ad("c", "红色电热水壶 保温", "烧水快，包邮", keywords=("电热水壶",)),
    Ad("d", "Bolt cordless drill with bits", "Drill and bits", keywords=()),
    Ad("e", "Bolt electric kettle for two", "", keywords=()),
)
QUERIES = ("kettle for tea", "cordless drill", "烧水", "frying pan")
CLICKS = np.array([[0, 0], [1, 3], [2, 2], [3, 1], [0, 4]])


@pytest.fixture
def catalog() -> Catalog:
    return Catalog.from_ads(ADS)


@pytest.fixture
def make_data() -> Callable[..., AdsAndClicks]:
    """Return a maker of the ads above with or without bids and clicks."""

    def make(bids: bool = True, clicks: bool = True) -> AdsAndClicks:
        pairs = CLICKS if clicks else np.empty((0, 2), dtype=np.int64)
        num = np.bincount(pairs[:, 1], minlength=len(ADS))
        return AdsAndClicks(
            titles=[ad.title for ad in ADS],
            texts=[f"{ad.title}. {ad.description}" if ad.description else ad.title for ad in ADS],
            bids=[list(ad.keywords) if bids else [] for ad in ADS],
            queries=QUERIES if clicks else (),
            clicks=pairs,
            counts=np.arange(1, len(pairs) + 1),
            num_judged=num,
            num_positive=num,
        )

    return make
