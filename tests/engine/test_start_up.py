"""What a generation has stored, so that starting an engine need not compute it again."""

from dataclasses import replace

import pytest

from intently.engine.engine import Engine
from intently.engine.layout import INT8_LAYERS
from intently.errors import ArtifactError
from intently.models import onnx_network, processor
from intently.models.student import Runtime
from tests.engine.small_engine import QUERIES, SETTINGS, ids, make_engine, save


@pytest.fixture(scope="module")
def built(make_student):
    return make_engine(make_student(3), replace(SETTINGS, runtime=Runtime.ONNX_INT8))


def answers(engine):
    return [(ids(found), [ad.score for ad in found], found.intentions) for found in map(engine.retrieve, QUERIES)]


def test_stored_layers_are_those_of_the_weights(built, tmp_path, monkeypatch):
    save(built, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(onnx_network, "layers_of", lambda *_, **__: pytest.fail("the layers were made again"))
        loaded = Engine.load(tmp_path)
    assert answers(loaded) == answers(built)
    assert loaded.models == Engine.load(tmp_path).models


def test_layers_of_another_cpu_are_made_anew(built, tmp_path, monkeypatch):
    save(built, tmp_path)
    before = Engine.load(tmp_path)
    monkeypatch.setattr("intently.engine.load.INT8_LAYERS", "student/layers-int8-other.onnx")
    made = []
    real = onnx_network.layers_of
    monkeypatch.setattr(onnx_network, "layers_of", lambda *given, **more: made.append(more) or real(*given, **more))
    assert answers(Engine.load(tmp_path)) == answers(before)
    assert made == [{"int8": True}]


@pytest.mark.parametrize("runtime", [Runtime.ONNX, Runtime.TORCH])
def test_other_runtimes_store_none_and_use_none(built, make_student, tmp_path, monkeypatch, runtime):
    save(make_engine(make_student(3), replace(SETTINGS, runtime=runtime)), tmp_path / "other")
    loaded = Engine.load(tmp_path / "other")
    assert not (loaded._opened.directory / INT8_LAYERS).exists()
    save(built, tmp_path / "int8")
    told = answers(Engine.load(tmp_path / "int8", runtime=runtime))
    for found, expected in zip(told, answers(loaded), strict=True):
        assert found[0] == expected[0]
        assert found[1] == pytest.approx(expected[1], abs=1e-5)


def test_altered_or_stray_layers_are_not_run(built, make_student, tmp_path):
    save(built, tmp_path / "altered")
    layers = next((tmp_path / "altered").rglob("layers-int8-*.onnx"))
    content = bytearray(layers.read_bytes())
    content[len(content) // 2] ^= 1
    layers.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"layers-int8-\d+\.onnx"):
        Engine.load(tmp_path / "altered")
    save(make_engine(make_student(3), replace(SETTINGS, runtime=Runtime.ONNX)), tmp_path / "stray")
    expected = answers(Engine.load(tmp_path / "stray", runtime=Runtime.ONNX_INT8))
    (generation,) = (path for path in (tmp_path / "stray" / "generations").iterdir() if path.is_dir())
    (generation / INT8_LAYERS).write_bytes(b"not a graph")
    assert answers(Engine.load(tmp_path / "stray", runtime=Runtime.ONNX_INT8)) == expected


def test_levels_fit_the_cpu(monkeypatch):
    for has, levels in ((True, 127), (False, 64)):
        monkeypatch.setattr(processor, "has_int8_products", lambda has=has: has)
        assert processor.int8_levels() == levels
