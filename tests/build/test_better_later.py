"""An engine that stands in seconds and gets better by later builds into the same directory, while it answers."""

import threading
from dataclasses import replace

import pytest
from building_world import FUSION, NUM_ADS, THINGS, Stages, title

from intently.build.pipeline import build_engine
from intently.build.settings import BuildSettings, Preset
from intently.engine.current import CurrentEngine
from intently.engine.engine import Engine
from intently.generation.layout import ids_of
from intently.types import Ad, Channel, Delete, Patch, Put, Request, UserContext

HAS = (Channel.INTENTION, Channel.LEXICAL)
ALL = (Channel.INTENTION, Channel.DENSE, Channel.LEXICAL)


@pytest.fixture(scope="module")
def presets(chosen) -> dict[Preset, BuildSettings]:
    """The presets with tiny models."""
    small = {name: getattr(chosen, name) for name in ("checkpoint", "runtime", "retrieval")}
    return {
        Preset.LEXICAL: replace(BuildSettings.preset("lexical"), retrieval=chosen.retrieval),
        Preset.INSTANT: replace(BuildSettings.preset("instant"), **small),
        Preset.DEFAULT: replace(BuildSettings.preset("default"), **small, training=chosen.training, fusion=FUSION),
    }


def ids(ranking) -> list[str]:
    return [ad.ad_id for ad in ranking.ads]


def test_lexical_then_instant_then_default(world, presets, tmp_path):
    out, stages = tmp_path / "engine", {preset: Stages() for preset in presets}
    build_engine(world.ads, world.clicks, out, presets[Preset.LEXICAL], progress=stages[Preset.LEXICAL])
    current = CurrentEngine(out)
    assert current.engine.channels == HAS
    current.apply(
        [Put(Ad("new", "Red gizmo 水壶", countries=("DE",))), Patch("a0", {"status": "paused"}), Delete("a1")]
    )
    done, problems, seen = threading.Event(), [], {}

    def ask() -> None:
        while not done.wait(0.02):
            try:
                answer = current.answer(Request("红色 水壶", NUM_ADS, UserContext(country="DE"), explain=True))
                assert "new" in ids(answer)
                assert not {"a0", "a1"} & set(ids(answer))
                reasons = {reason.channel for ad in answer.ads for reason in ad.reasons}
                seen.setdefault(answer.generation, set()).update(reasons)
            except Exception as error:
                problems.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    generations = [current.engine.generation]
    try:
        for preset in (Preset.INSTANT, Preset.DEFAULT):
            report = build_engine(world.ads, world.clicks, out, presets[preset], progress=stages[preset])
            assert current.answer(Request("kettle")).generation == generations[-1]  # until it is told
            assert current.refresh()
            assert current.engine.channels == ALL
            for channel in ALL:  # the student has read it now; of its vocabulary it has the kettle
                assert "new" in ids(current.answer(Request("gizmo 水壶", NUM_ADS, channel=channel)))
            generations.append(report.generation)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert [*ids_of(out)] == generations
    assert set(seen) <= set(generations)
    assert seen[generations[0]] == set(HAS)
    assert (current.engine.ad("a0").status, current.engine.ad("a1")) == ("paused", None)
    assert [stages[preset].trained for preset in presets] == [set(), set(), {"student"}]
    assert "Reading the ads" not in stages[Preset.LEXICAL].seen
    assert "Reading the ads" in stages[Preset.INSTANT].seen

    back = build_engine(world.ads, world.clicks, out, presets[Preset.LEXICAL])  # which is there already
    assert back.generation == generations[0]
    assert current.refresh()
    assert current.engine.channels == HAS
    assert "new" in ids(current.answer(Request("gizmo")))


def test_a_lexical_build_finds_what_was_clicked_and_what_is_written(world, presets, tmp_path):
    report = build_engine(world.ads, world.clicks, tmp_path / "engine", presets[Preset.LEXICAL], pages=world.pages)
    assert any(note.startswith("there is no model") for note in report.notes)
    engine = Engine.load(tmp_path / "engine")
    assert (engine.student, engine.vectors, engine.fusion, engine.cache) == (None, None, None, None)
    number = THINGS.index("hose")
    answer = engine.retrieve("buy hose", 5, channel=Channel.INTENTION)
    bidders = {f"a{row}" for row in range(NUM_ADS) if "hose" in title(row)}
    assert set(ids(answer)) <= bidders | {f"a{(3 * number + 7) % NUM_ADS}"}
    (clicked_ad,) = [ad for ad in answer.ads if ad.ad_id == f"a{(3 * number + 7) % NUM_ADS}"]  # that it was clicked for
    assert "buy hose" in [text for text, _ in clicked_ad.reasons[0].evidence]
    assert "a0" in ids(engine.retrieve("warranty", 3))  # of its page alone
    again = build_engine(world.ads, world.clicks, tmp_path / "engine", presets[Preset.LEXICAL], pages=world.pages)
    assert again.generation == report.generation


def test_a_fusion_may_be_learned_without_models(world, presets, tmp_path):
    pytest.importorskip("lightgbm")
    settings = replace(presets[Preset.LEXICAL], fusion=FUSION)
    report = build_engine(world.ads, world.clicks, tmp_path / "engine", settings)
    engine = Engine.load(tmp_path / "engine")
    assert report.facts["fusion_queries"] > 0
    assert "guidance_queries" not in report.facts
    assert engine.fusion is None or engine.fusion.channels == HAS
    assert "a0" in ids(engine.retrieve(title(0), 3))
