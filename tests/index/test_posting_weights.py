"""What postings weigh: by hand, and against plain loops over one entry after the other."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import ArtifactError, SettingsError
from intently.index.posting_weights import AdIntentions, PostingSettings, PostingStatistics, build_postings, weigh
from intently.index.postings import Postings

NUM_INTENTIONS, NUM_ADS = 4, 5
NONE = np.empty((0, 2), dtype=np.int64)
PLAIN = PostingSettings(clicked_weight=1.0, decoded_weight=1.0, idf_power=1.0, length_power=0.0)


def pairs_of(pairs) -> np.ndarray:
    return np.array(list(pairs), dtype=np.int64).reshape(-1, 2)


def ad_intentions(given_pairs=(), clicked=(), decoded=()) -> AdIntentions:
    """Return what ads are known by; `decoded` are (intention_id, ad_row, probability)."""
    return AdIntentions(
        pairs_of(given_pairs),
        pairs_of(clicked),
        pairs_of((key, row) for key, row, _ in decoded),
        np.log([probability for _, _, probability in decoded]),
    )


def as_dict(postings: Postings) -> dict[tuple[int, int], float]:
    return {
        (key, int(row)): float(weight)
        for key in range(postings.num_keys)
        for row, weight in zip(*postings.of(key), strict=True)
    }


def summed(given_pairs, clicked, decoded, reach, num_ads, chosen) -> dict:
    """The slow twin, up to the ads' norms."""
    weights: dict[tuple[int, int], float] = {}
    for key, row in given_pairs:
        weights[key, row] = chosen.clicked_weight if (key, row) in clicked else 1.0
    for key, row, probability in decoded:
        weights[key, row] = weights.get((key, row), 0.0) + chosen.decoded_weight * probability
    for key, row in weights:
        weights[key, row] *= math.log(1 + num_ads / (1 + reach[key])) ** chosen.idf_power
    return weights


def normed(weights: dict, mean_norm: float | None, chosen) -> dict:
    """The slow twin's last step; the mean norm is that of these ads unless it is given."""
    norms = {row: math.sqrt(sum(w**2 for (_, other), w in weights.items() if other == row)) for _, row in weights}
    positive = [norm for norm in norms.values() if norm > 0]
    if mean_norm is None:
        mean_norm = sum(positive) / len(positive) if positive else 1.0
    return {
        (key, row): weight / max(norms[row] / mean_norm, 0.1) ** chosen.length_power
        for (key, row), weight in weights.items()
    }


def test_by_hand():
    # Intention 0 is given to ads 0 and 1, intention 1 to ad 1; 1 was decoded for ad 0, 0 for ad 0, 2 for ad 2.
    ads = ad_intentions([(0, 0), (0, 1), (1, 1)], [(0, 1)], [(1, 0, 0.25), (0, 0, 0.5), (2, 2, 0.75)])
    chosen = replace(PLAIN, decoded_weight=4.0, idf_power=2.0, clicked_weight=3.0)
    postings, statistics = build_postings(ads, 4, 3, chosen)
    idf = [math.log(1 + 4 / 3), math.log(1 + 4 / 2), math.log(1 + 4 / 1)]
    expected = {
        (0, 0): idf[0] ** 2 * (1 + 4 * 0.5),
        (0, 1): idf[0] ** 2 * 3,
        (1, 0): idf[1] ** 2 * 4 * 0.25,
        (1, 1): idf[1] ** 2,
        (2, 2): idf[2] ** 2 * 4 * 0.75,
    }
    assert as_dict(postings) == pytest.approx(expected, rel=1e-6)
    assert (postings.num_keys, postings.num_ads) == (3, 4)
    assert (statistics.reach.tolist(), statistics.num_ads) == ([2, 1, 0], 4)


def test_many_intentions_weigh_less_each():
    ads = ad_intentions([(0, 0), (1, 1), (2, 1), (3, 1), (0, 1)])
    idf = {key: math.log(1 + 2 / (1 + (2 if key == 0 else 1))) for key in range(4)}
    norms = [idf[0], math.sqrt(sum(each**2 for each in idf.values()))]
    plain, statistics = build_postings(ads, 2, 4, PLAIN)
    assert statistics.mean_norm == pytest.approx(sum(norms) / 2)
    assert as_dict(plain) == pytest.approx({(0, 0): idf[0]} | {(key, 1): idf[key] for key in range(4)})
    halved, _ = build_postings(ads, 2, 4, replace(PLAIN, length_power=0.5))
    shrunk = [math.sqrt(statistics.mean_norm / norm) for norm in norms]
    expected = {(0, 0): idf[0] * shrunk[0]} | {(key, 1): idf[key] * shrunk[1] for key in range(4)}
    assert as_dict(halved) == pytest.approx(expected)
    assert shrunk[0] > 1 > shrunk[1]


def test_an_ad_with_next_to_nothing_does_not_win():
    ads = ad_intentions([(0, 0)], decoded=[(0, 1, 1e-9)])
    postings, _ = build_postings(ads, 2, 1, replace(PLAIN, length_power=1.0))
    found, idf = as_dict(postings), math.log(1 + 2 / 2)
    assert found[0, 0] == pytest.approx(idf * (1 + 1e-9) / 2)  # its share of the mean norm is taken away
    assert found[0, 1] == pytest.approx(idf * 1e-8)  # at most ten times as much


chances = st.sampled_from([1e-6, 0.1, 0.5, 1.0])
entries = st.tuples(st.integers(0, NUM_INTENTIONS - 1), st.integers(0, NUM_ADS - 1))
known = st.builds(
    lambda given_pairs, clicked, decoded: (sorted(given_pairs), set(clicked), decoded),
    st.sets(entries, max_size=12),
    st.sets(entries, max_size=6),
    st.lists(st.builds(lambda pair, chance: (*pair, chance), entries, chances), max_size=12),  # some several times
)
chosen_settings = st.builds(
    PostingSettings,
    clicked_weight=st.sampled_from([0.0, 1.0, 3.0]),
    decoded_weight=st.sampled_from([0.0, 0.3, 2.0]),
    idf_power=st.sampled_from([0.0, 1.0, 1.5]),
    length_power=st.sampled_from([0.0, 0.3, 1.0]),
)


@settings(deadline=None)
@given(known, chosen_settings)
def test_equals_a_loop(parts, chosen):
    postings, statistics = build_postings(ad_intentions(*parts), NUM_ADS, NUM_INTENTIONS, chosen)
    reach = [sum(key == one for one, _ in parts[0]) for key in range(NUM_INTENTIONS)]
    expected = normed(summed(*parts, reach, NUM_ADS, chosen), None, chosen)
    assert as_dict(postings) == pytest.approx(expected, rel=1e-4, abs=1e-12)
    assert statistics.reach.tolist() == reach
    assert (postings.num_keys, postings.num_ads) == (NUM_INTENTIONS, NUM_ADS)
    assert (np.diff(postings.offsets) >= 0).all()


@settings(deadline=None)
@given(known, chosen_settings, st.sets(st.integers(0, NUM_ADS - 1)))
def test_ads_weighed_alone_get_what_they_got_in_the_whole(parts, chosen, some):
    postings, statistics = build_postings(ad_intentions(*parts), NUM_ADS, NUM_INTENTIONS, chosen)
    place = {row: number for number, row in enumerate(sorted(some))}
    given_pairs, clicked, decoded = parts
    part = ad_intentions(
        [(key, place[row]) for key, row in given_pairs if row in place],
        [(key, place[row]) for key, row in clicked if row in place],
        [(key, place[row], chance) for key, row, chance in decoded if row in place],
    )
    alone = weigh(part, len(some), statistics, chosen)
    expected = {(key, place[row]): weight for (key, row), weight in as_dict(postings).items() if row in place}
    assert as_dict(alone) == pytest.approx(expected, rel=1e-6)
    assert (alone.num_keys, alone.num_ads) == (NUM_INTENTIONS, len(some))


def test_nothing_known_of_any_ad():
    postings, statistics = build_postings(ad_intentions(), 2, 3, PostingSettings())
    assert postings.counts().tolist() == [0, 0, 0]
    assert (statistics.mean_norm, statistics.reach.tolist()) == (1.0, [0, 0, 0])
    none, _ = build_postings(ad_intentions(), 0, 3, PostingSettings())
    assert (none.num_ads, none.counts().tolist()) == (0, [0, 0, 0])
    assert weigh(ad_intentions(), 0, statistics, PostingSettings()).num_ads == 0


def test_only_decoded_and_only_clicked():
    chosen = replace(PLAIN, clicked_weight=5.0)
    only_decoded, _ = build_postings(ad_intentions(decoded=[(1, 1, 0.5)]), 2, 2, chosen)
    assert as_dict(only_decoded) == pytest.approx({(1, 1): 0.5 * math.log(3)})
    # What was clicked but not given is not found by it: the vocabulary left it out.
    only_clicked, _ = build_postings(ad_intentions(clicked=[(0, 1)]), 2, 2, chosen)
    assert as_dict(only_clicked) == {}


def test_statistics_are_saved(tmp_path):
    path = tmp_path / "statistics.npz"
    _, statistics = build_postings(ad_intentions([(0, 0), (2, 1)]), 2, 3, PostingSettings())
    statistics.save(path)
    loaded = PostingStatistics.load(path, 3)
    for name, value in vars(statistics).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    assert (type(loaded.num_ads), type(loaded.mean_norm)) == (int, float)
    with pytest.raises(ArtifactError, match=r"statistics\.npz does not hold statistics of 4 intentions; build again"):
        PostingStatistics.load(path, 4)


def test_damaged_statistics_are_named(tmp_path):
    path = tmp_path / "statistics.npz"
    good = PostingStatistics(np.array([1, 2]), 3, 1.5)
    good.save(path)
    content = path.read_bytes()
    for damaged in (b"", b"foreign", content[: len(content) // 2], content[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"statistics\.npz does not hold statistics of postings"):
            PostingStatistics.load(path, 2)
    path.unlink()
    with pytest.raises(ArtifactError, match=r"statistics\.npz does not hold statistics of postings"):
        PostingStatistics.load(path, 2)
    for wrong in (
        {"reach": np.array([1])},
        {"reach": np.array([[1, 2]])},
        {"num_ads": np.array([3])},
        {"mean_norm": np.array([1.0, 2.0])},
    ):
        with path.open("wb") as file:
            np.savez(file, **(vars(good) | wrong))
        with pytest.raises(ArtifactError, match=r"statistics\.npz does not hold statistics of 2 intentions"):
            PostingStatistics.load(path, 2)
    with path.open("wb") as file:
        np.savez(file, reach=np.array([1, 2]))
    with pytest.raises(ArtifactError, match=r"statistics\.npz does not hold statistics of postings"):
        PostingStatistics.load(path, 2)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"num_beams": -1}, "'num_beams' is -1"),
        ({"num_near": 1.5}, "'num_near' is 1.5"),
        ({"max_ad_tokens": 2}, "'max_ad_tokens' is 2"),
        ({"clicked_weight": -1.0}, "'clicked_weight' is -1.0"),
        ({"decoded_weight": math.nan}, "'decoded_weight' is nan"),
        ({"length_power": math.inf}, "'length_power' is inf"),
        ({"idf_power": "much"}, "'idf_power' is 'much'"),
    ],
)
def test_wrong_settings(wrong, problem):
    with pytest.raises(SettingsError, match=problem):
        PostingSettings(**wrong)
