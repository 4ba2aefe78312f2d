"""The encoder of the dense channel: what it learns from, how it is trained, and how it reads all ads."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intently.arrays import IntArray
from intently.build.augmentation.augmentation import Augmentation
from intently.build.augmentation.importance import ImportanceSettings, quality
from intently.build.encoder_teacher import Guide, HybridTeacher
from intently.build.interactions import Interactions
from intently.build.settings import BackboneKind, BridgeSettings
from intently.build.training.bridge import TrainedEncoder, train_bridge
from intently.build.training.sources import BridgeData, Source
from intently.build.work import ENCODER, begin, finish, is_finished
from intently.catalog import Catalog
from intently.catalog.texts import ad_texts
from intently.files import atomic_write, write_text
from intently.index.lexical import LexicalIndex
from intently.index.token_vectors import TokenVectors
from intently.intentions.vocabulary import Vocabulary
from intently.models.encoder.backbone import CompactBackbone, TextBackbone, TextTokenizer
from intently.models.encoder.embedder import EmbeddedAds, Embedder
from intently.models.encoder.features import FeatureStore, augmentation_features
from intently.models.encoder.hugging_face import HuggingFaceBackbone
from intently.models.encoder.model import BridgeEncoder
from intently.models.encoder.pages import MAX_SENTENCE_TOKENS, encoder_texts
from intently.models.encoder.settings import EncoderSettings, Gate
from intently.models.pretrained import start_from
from intently.models.student import Student
from intently.types import Progress


@dataclass(frozen=True, eq=False)
class EncoderMaterial:
    """What an encoder is made from: N ads, what is known of them, and what it starts from."""

    ad_texts: tuple[str, ...]
    titles: tuple[str, ...]
    interactions: Interactions
    vocabulary: Vocabulary
    augmentation: Augmentation | None
    lexical: LexicalIndex  # which teaches it ...
    checkpoint: str  # the student's
    guide: Guide | None = None  # ... together with this one


def read_by_encoder(
    catalog: Catalog,
    pages: Sequence[str],
    interactions: Interactions,
    student: Student,
    settings: BridgeSettings,
    show: Progress,
) -> list[str]:
    """Return what the encoder reads of each ad (N,); `pages (N,)` are the cleaned texts of their landing pages."""
    if not settings.reads_pages:
        return ad_texts(catalog)
    asked: list[list[str]] = [[] for _ in range(catalog.num_ads)]
    for query, ad in interactions.clicks.tolist():
        asked[ad].append(interactions.queries[query])
    return encoder_texts(
        catalog, pages, asked, partial(student.embed, max_tokens=MAX_SENTENCE_TOKENS), settings.chunks, show
    )


def chosen_augmentation(augmentation: Augmentation, settings: BridgeSettings) -> Augmentation | None:
    """Return the kinds of augmentation that the encoder reads and learns from, None for none."""
    nothing: tuple[tuple[str, ...], ...] = ((),) * len(augmentation)
    chosen = Augmentation(
        augmentation.queries if settings.generated_queries else nothing,
        augmentation.keywords if settings.keywords else nothing,
    )
    return chosen if any(chosen.queries) or any(chosen.keywords) else None


def start_encoder(material: EncoderMaterial, settings: BridgeSettings) -> tuple[TextBackbone, TextTokenizer]:
    """Load what training starts from, its vocabulary grown by the characters of ads and queries where it can be."""
    checkpoint = settings.checkpoint or material.checkpoint
    if settings.kind is BackboneKind.HUGGING_FACE:
        return HuggingFaceBackbone.load(checkpoint)
    texts = [*material.ad_texts, *material.interactions.queries]
    if settings.intentions:
        texts += material.vocabulary.texts
    if material.augmentation is not None:
        texts += chain.from_iterable((*material.augmentation.queries, *material.augmentation.keywords))
    backbone, tokenizer = start_from(checkpoint, texts, settings.training.seed)
    return CompactBackbone(backbone), tokenizer


def build_features(
    backbone: TextBackbone,
    tokenizer: TextTokenizer,
    augmentation: Augmentation,
    settings: BridgeSettings,
    show: Progress,
    *,
    device: str = "cpu",
) -> FeatureStore:
    """Return the features of all ads' augmentation, computed on `device` with what training starts from."""
    start = Embedder(BridgeEncoder(backbone, EncoderSettings().without_parts()).to(torch.device(device)), tokenizer)
    generated, keywords = (
        augmentation_features(start.embed_queries, items, most, show, stage=f"Reading {what}")
        for items, most, what in (
            (augmentation.queries, settings.max_generated, "generated queries"),
            (augmentation.keywords, settings.max_keywords, "keywords"),
        )
    )
    return FeatureStore(generated, keywords)


def bridge_data(material: EncoderMaterial, features: FeatureStore | None, settings: BridgeSettings) -> BridgeData:
    """Return the pairs that the encoder learns from, by source; a source without pairs is left out.

    Intentions weigh by how rare they are: that of many ads says little of one.
    """
    interactions, vocabulary, augmentation = material.interactions, material.vocabulary, material.augmentation
    num_ads = len(material.ad_texts)
    sources = [_clicked("clicks", interactions.queries, interactions.clicks)]
    if augmentation and any(augmentation.queries):
        chosen = [queries[: settings.max_generated] for queries in augmentation.queries]
        sources.append(Source.of_ads("generated queries", chosen))
    if augmentation and any(augmentation.keywords):
        chosen = [keywords[: settings.max_keywords] for keywords in augmentation.keywords]
        sources.append(Source.of_ads("keywords", chosen))
    if settings.intentions:
        pairs = vocabulary.ad_pairs
        rarity = np.log1p(num_ads / (1.0 + np.bincount(pairs[:, 0], minlength=len(vocabulary))))
        texts = tuple(vocabulary.texts[intention_id] for intention_id in pairs[:, 0].tolist())
        sources.append(Source("intentions", texts, pairs[:, 1], rarity[pairs[:, 0]]))
    liked = np.bincount(interactions.clicks[:, 1], minlength=num_ads)
    disliked = np.bincount(interactions.irrelevant[:, 1], minlength=num_ads)
    return BridgeData(
        ad_texts=material.ad_texts,
        sources=tuple(source for source in sources if len(source)),
        features=features,
        irrelevant=_clicked("irrelevant", interactions.queries, interactions.irrelevant),
        titles=material.titles,
        num_clicks=np.bincount(interactions.clicks[:, 1], interactions.counts, num_ads).astype(np.int64),
        qualities=quality(liked + disliked, liked, ImportanceSettings()),
    )


def _clicked(name: str, queries: Sequence[str], pairs: IntArray) -> Source:
    return Source(name, tuple(queries[row] for row in pairs[:, 0].tolist()), pairs[:, 1])


@dataclass(frozen=True, eq=False)
class BuiltEncoder:
    """A trained encoder, how it embeds all ads and their tokens, and how training went, as JSON knows it."""

    embedder: Embedder
    ads: EmbeddedAds
    training: dict[str, Any]


def build_encoder(
    material: EncoderMaterial,
    settings: BridgeSettings,
    work: Path,
    show: Progress,
    *,
    features_directory: Path | None = None,
    device: str = "cpu",
) -> BuiltEncoder:
    """Train an encoder, going on from what `work` holds of it, and let it read all ads, both on `device`.

    What is returned is on the CPU. The features of the ads' augmentation are kept in `features_directory`, which
    several encoders may share that read the same and start from the same.
    """
    features = _features(material, settings, features_directory or work / "features", show, device)
    directory = work / ENCODER
    if not is_finished(directory):
        begin(directory)
        trained, tokenizer = _train(material, features, settings, work, show, device)
        Embedder(trained.encoder, tokenizer).save(directory)
        write_text(directory / "training.json", json.dumps(_told(trained), indent=1))
        finish(directory)
    embedder, read = Embedder.load(directory), work / "read"
    embeddings, tokens = read / "vectors.npy", read / "tokens"
    if not is_finished(read):
        ads = embedder.on(device).read_ads(
            material.ad_texts,
            features,
            progress=lambda _, done, total, note: show("Embedding the ads", done, total, note),
        )
        begin(read)
        with atomic_write(embeddings) as file:
            np.save(file, ads.embeddings)
        if ads.tokens:
            ads.tokens.save(tokens)
        finish(read)
    ads = EmbeddedAds(np.load(embeddings), TokenVectors.load(tokens) if tokens.is_dir() else None)
    history = directory / "training.json"  # not there where the encoder came from an earlier generation
    training = json.loads(history.read_text(encoding="utf-8")) if history.is_file() else {}
    return BuiltEncoder(embedder, ads, training)


def _train(
    material: EncoderMaterial,
    features: FeatureStore | None,
    settings: BridgeSettings,
    work: Path,
    show: Progress,
    device: str,
) -> tuple[TrainedEncoder, TextTokenizer]:
    backbone, tokenizer = start_encoder(material, settings)
    parts = settings.encoder
    if features is None:  # there is nothing that these parts could read
        parts = replace(parts, gate=Gate.NONE, cross_attention=False)
    trained = train_bridge(
        BridgeEncoder(backbone, parts).to(torch.device(device)),
        tokenizer,
        bridge_data(material, features, settings),
        settings.training,
        checkpoint=work / "checkpoint.pt",
        teacher=HybridTeacher(material.lexical, material.guide, settings.training.distillation.cosine_weight),
        progress=show,
    )
    return trained, tokenizer


def _told(trained: TrainedEncoder) -> dict[str, Any]:
    return {
        "num_steps": trained.num_steps,
        "losses": trained.losses,
        "num_drawn": trained.num_drawn,
        "forgetting": trained.forgetting(),
        "history": [asdict(look) for look in trained.history],
    }


def _features(
    material: EncoderMaterial, settings: BridgeSettings, directory: Path, show: Progress, device: str
) -> FeatureStore | None:
    """Return the features of all ads, kept in `directory`; None if there is no augmentation to read."""
    if material.augmentation is None or not settings.encoder.reads_augmentation:
        return None
    if not is_finished(directory):
        begin(directory)
        backbone, tokenizer = start_encoder(material, settings)
        build_features(backbone, tokenizer, material.augmentation, settings, show, device=device).save(directory)
        finish(directory)
    return FeatureStore.load(directory)
