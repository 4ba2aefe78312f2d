"""An ad's augmentation as vectors: the start encoder's embeddings of its generated queries and keywords.

They are computed once, with a frozen encoder, hence training and indexing read no text but the ad's own. Ads share many
items, most of all keywords, so each text's vector is stored once and ads refer to it by its row. Beside it lies the
text's key, by which training finds the items that say the very query that an ad is to be learnt with.

Shape letters: N ads, B ads of a batch, A items an ad (G generated queries, K keywords), U different texts, D dimension.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intently.errors import ArtifactError, InputError
from intently.files import atomic_write
from intently.text.analyze import Analyzer
from intently.text.normalize import normalize
from intently.types import Progress

# Texts to unit embeddings (len(texts), D).
Embed = Callable[[Sequence[str]], NDArray[np.float32]]

_CHUNK = 4096  # texts embedded between two reports
_NONE = -1  # in `rows`: no item
_ANALYZER = Analyzer()  # one for all, because keys are compared


def text_keys(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return a key (len(texts),) of each text, never 0: texts of the same stems in whatever order have the same.

    Two others have the same with a probability of 2⁻⁶⁴. Cost: some 20 µs a text.
    """
    keys = np.empty(len(texts), dtype=np.int64)
    for row, text in enumerate(texts):
        stems = sorted(stem for _, stem in _ANALYZER.content(text)) or [normalize(text)]
        keys[row] = int.from_bytes(hashlib.blake2b(" ".join(stems).encode(), digest_size=8).digest(), signed=True) or 1
    return keys


@dataclass(frozen=True)
class AdFeatures:
    """What the encoder takes of B ads beside their texts; the masks are true for real items."""

    generated: Tensor  # (B, G, D)
    generated_mask: Tensor  # (B, G)
    keywords: Tensor  # (B, K, D)
    keywords_mask: Tensor  # (B, K)

    def to(self, device: torch.device) -> "AdFeatures":
        """Return the same features on a device."""
        parts = (self.generated, self.generated_mask, self.keywords, self.keywords_mask)
        return AdFeatures(*(part.to(device) for part in parts))

    def without(self, ads: NDArray[np.bool_]) -> "AdFeatures":
        """Return the same features without any item of the ads (B,) that are true."""
        kept = torch.from_numpy(~ads).to(self.generated_mask.device)[:, None]
        return replace(self, generated_mask=self.generated_mask & kept, keywords_mask=self.keywords_mask & kept)


@dataclass(frozen=True)
class ItemFeatures:
    """Vectors and keys of one kind of item, and `rows (N, A)` of each ad's, -1 where it has fewer."""

    vectors: NDArray[np.float16]  # (U, D)
    keys: NDArray[np.int64]  # (U,)
    rows: NDArray[np.int32]  # (N, A)

    def gather(self, ad_rows: NDArray[np.int64], hidden: NDArray[np.int64] | None = None) -> tuple[Tensor, Tensor]:
        """Return float32 features (B, A, D) and their mask (B, A) of ads; A is the most items that one of them has.

        Of an ad the items of the key `hidden (B,)`, 0 for none, are masked.
        """
        rows = np.asarray(self.rows[ad_rows])
        mask = rows != _NONE
        width = int(mask.sum(axis=1).max(initial=0))
        rows, mask = rows[:, :width], mask[:, :width]
        features = np.zeros((*rows.shape, self.vectors.shape[1]), dtype=np.float32)
        features[mask] = self.vectors[rows[mask]]
        if hidden is not None and len(self.keys):
            mask = mask & (self.keys[rows] != hidden[:, None])
        return torch.from_numpy(features), torch.from_numpy(mask)

    def save(self, directory: Path) -> None:
        """Write three `.npy` files into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, array in (("vectors", self.vectors), ("keys", self.keys), ("rows", self.rows)):
            with atomic_write(directory / f"{name}.npy") as file:
                np.save(file, array)

    @classmethod
    def load(cls, directory: Path) -> "ItemFeatures":
        """Map what `save` wrote; raise `ArtifactError` naming the file if it is not that."""
        features = cls(
            _mapped(directory / "vectors.npy", np.float16, 2, "vectors"),
            _mapped(directory / "keys.npy", np.int64, 1, "keys"),
            _mapped(directory / "rows.npy", np.int32, 2, "rows"),
        )
        if features.rows.max(initial=_NONE) >= len(features.vectors):
            raise ArtifactError(
                f"{directory / 'rows.npy'} names vectors that {directory / 'vectors.npy'} does not hold"
            )
        if len(features.keys) != len(features.vectors):
            raise ArtifactError(f"{directory / 'keys.npy'} and {directory / 'vectors.npy'} are of different texts")
        return features


@dataclass(frozen=True)
class FeatureStore:
    """The features of all N ads, both kinds; `batch` gathers those of a few."""

    generated: ItemFeatures
    keywords: ItemFeatures

    def __post_init__(self) -> None:
        for what, generated, keywords in (
            ("ads", len(self.generated.rows), len(self.keywords.rows)),
            ("dimensions", self.generated.vectors.shape[1], self.keywords.vectors.shape[1]),
        ):
            if generated != keywords:
                raise InputError(
                    f"features of {generated} {what} for generated queries and of {keywords} for keywords",
                    cure="compute both from the same augmentation with the same encoder",
                )

    def __len__(self) -> int:
        """Return the number of ads N."""
        return len(self.generated.rows)

    @property
    def dimension(self) -> int:
        """Size D of the features."""
        return int(self.generated.vectors.shape[1])

    def batch(self, ad_rows: NDArray[np.int64], hidden: NDArray[np.int64] | None = None) -> AdFeatures:
        """Return the features of `ad_rows (B,)`, on the CPU, padded to the most items among them.

        Items of an ad whose text has the key `hidden (B,)`, of `text_keys`, 0 for none, are left out.
        """
        return AdFeatures(*self.generated.gather(ad_rows, hidden), *self.keywords.gather(ad_rows, hidden))

    def save(self, directory: Path) -> None:
        """Write the features into `directory`."""
        self.generated.save(directory / "generated")
        self.keywords.save(directory / "keywords")

    @classmethod
    def load(cls, directory: Path) -> "FeatureStore":
        """Map what `save` wrote; raise `ArtifactError` naming what is wrong."""
        generated, keywords = ItemFeatures.load(directory / "generated"), ItemFeatures.load(directory / "keywords")
        try:
            return cls(generated, keywords)
        except InputError as error:
            raise ArtifactError(f"{directory}: {error}") from error


def augmentation_features(
    embed: Embed,
    items: Sequence[Sequence[str]],
    max_items: int,
    progress: Progress | None = None,
    *,
    stage: str = "augmentation features",
) -> ItemFeatures:
    """Return the features of each ad's first `max_items` different items, each different text embedded once.

    `embed` turns texts into vectors (B, D). Costs U readings and 2·U·(D + 4) bytes.
    """
    row_of: dict[str, int] = {}
    chosen = [list(dict.fromkeys(texts))[:max_items] for texts in items]
    rows = np.full((len(chosen), max(map(len, chosen), default=0)), _NONE, dtype=np.int32)
    for ad_row, texts in enumerate(chosen):
        for place, text in enumerate(texts):
            rows[ad_row, place] = row_of.setdefault(text, len(row_of))
    # Similar lengths together, because embedding pads to the longest of a batch.
    texts = list(row_of)
    order = np.argsort([len(text) for text in texts], kind="stable")
    dimension = embed([""]).shape[1]
    vectors = np.empty((len(texts), dimension), dtype=np.float16)
    for start in range(0, len(texts), _CHUNK):
        chunk = order[start : start + _CHUNK]
        vectors[chunk] = embed([texts[row] for row in chunk])
        if progress:
            progress(stage, start + len(chunk), len(texts), "")
    return ItemFeatures(vectors, text_keys(texts), rows)


def _mapped(path: Path, kind: type[np.generic], num_axes: int, what: str) -> NDArray[Any]:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} does not hold {what} of features ({error}); compute them again") from error
    if array.ndim != num_axes or array.dtype != kind:
        raise ArtifactError(f"{path} holds {array.dtype} {array.shape}, not {np.dtype(kind)} of {num_axes} dimensions")
    return array
