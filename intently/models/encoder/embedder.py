"""The encoder and its tokenizer together, ready to embed queries and ads.

Shape letters: N texts, S source length, D hidden size.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from intently.errors import ArtifactError, InputError, SettingsError
from intently.files import atomic_write, write_text
from intently.index.token_vectors import TokenVectors
from intently.models.device import autocast
from intently.models.encoder.backbone import CompactBackbone, TextBackbone, TextTokenizer
from intently.models.encoder.features import FeatureStore
from intently.models.encoder.hugging_face import HuggingFaceBackbone, HuggingFaceTokenizer
from intently.models.encoder.model import BridgeEncoder
from intently.models.encoder.query_graph import QueryRunner
from intently.models.encoder.settings import EncoderSettings
from intently.models.files import read_weights
from intently.models.student import Runtime
from intently.models.tokenizer import StudentTokenizer, TextKind
from intently.settings import from_mapping
from intently.types import Progress

_CONFIG, _WEIGHTS, _BACKBONE = "encoder.json", "encoder.safetensors", "backbone"
_COMPACT, _HUGGING_FACE = "compact", "hugging-face"


@dataclass(frozen=True, eq=False)
class EmbeddedQueries:
    """N queries: unit `embeddings (N, D)` and those of each one's tokens (S, P), None if nothing interacts."""

    embeddings: NDArray[np.float32]
    tokens: list[NDArray[np.float32]] | None


@dataclass(frozen=True, eq=False)
class EmbeddedAds:
    """N ads: unit `embeddings (N, D)` and the vectors of their tokens, None if nothing interacts."""

    embeddings: NDArray[np.float32]
    tokens: TokenVectors | None


class Embedder:
    """A trained encoder ready for use, on the device its weights are on."""

    def __init__(self, encoder: BridgeEncoder, tokenizer: TextTokenizer) -> None:
        self.encoder, self.tokenizer = encoder.eval(), tokenizer
        self.runtime = Runtime.TORCH
        self._query_runner: QueryRunner | None = None

    @property
    def dimension(self) -> int:
        """Size D of the embeddings."""
        return self.encoder.dimension

    @property
    def settings(self) -> EncoderSettings:
        """What the encoder is made of."""
        return self.encoder.settings

    def use(self, runtime: Runtime, num_threads: int = 1) -> "Embedder":
        """Return this embedder, its weights shared, whose queries `runtime` reads on `num_threads` threads.

        Ads are read by PyTorch, which has its own setting for threads (`intra_op_threads`). Raises `SettingsError` for
        ONNX Runtime if the encoder is not on the CPU, or its backbone not the compact one.
        """
        embedder = Embedder(self.encoder, self.tokenizer)
        if runtime is Runtime.TORCH:
            return embedder
        if not isinstance(self.encoder.backbone, CompactBackbone):
            raise SettingsError(f"runtime '{runtime}' runs the compact backbone only; use 'torch'")
        if (device := self.encoder.device).type != "cpu":
            raise SettingsError(f"runtime '{runtime}' is for CPUs and the encoder is on {device}; use 'torch'")
        embedder.runtime = runtime
        embedder._query_runner = QueryRunner(self.encoder, int8=runtime is Runtime.ONNX_INT8, num_threads=num_threads)
        return embedder

    def on(self, device: str) -> "Embedder":
        """Return this embedder for reading on a device: itself if it is on such a one, else a copy run by PyTorch."""
        if torch.device(device).type == self.encoder.device.type:
            return self
        return Embedder(copy.deepcopy(self.encoder).to(torch.device(device)), self.tokenizer)

    def embed_queries(
        self, texts: Sequence[str], batch_size: int = 64, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Return unit embeddings (N, D) of queries, cut at `max_query_tokens`."""
        return self.read_queries(texts, batch_size, progress).embeddings

    @torch.inference_mode()
    def read_queries(
        self, texts: Sequence[str], batch_size: int = 64, progress: Progress | None = None
    ) -> EmbeddedQueries:
        """Return the embeddings of queries and of their tokens; queries are cut at `max_query_tokens`."""
        embeddings = np.empty((len(texts), self.dimension), dtype=np.float32)
        of_tokens = [np.empty((0, self.settings.token_dimension), dtype=np.float32)] * len(texts)
        num_done = 0
        for rows in _by_length(texts, batch_size):
            token_ids, lengths = self.tokenizer.encode([texts[row] for row in rows], self.settings.max_query_tokens)
            if self._query_runner is not None:
                embeddings[rows], tokens = self._query_runner(token_ids, lengths)
            else:
                device = self.encoder.device
                ids, num = torch.from_numpy(token_ids).to(device), torch.from_numpy(lengths).to(device)
                encoded = self.encoder.encode_queries(ids, num)
                embeddings[rows], tokens = encoded.embeddings.cpu().numpy(), encoded.tokens.cpu().numpy()
            for row, own, length in zip(rows.tolist(), tokens, lengths.tolist(), strict=True):
                of_tokens[row] = own[:length]
            num_done += len(rows)
            if progress:
                progress("Embedding queries", num_done, len(texts), "")
        return EmbeddedQueries(embeddings, of_tokens if self.settings.token_dimension else None)

    def embed_ads(
        self,
        texts: Sequence[str],
        features: FeatureStore | None = None,
        batch_size: int = 128,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return unit embeddings (N, D) of ads, as `read_ads` does."""
        return self._read_ads(texts, features, batch_size, progress, None)

    def read_ads(
        self,
        texts: Sequence[str],
        features: FeatureStore | None = None,
        batch_size: int = 128,
        progress: Progress | None = None,
    ) -> EmbeddedAds:
        """Return the embeddings of ads and of their tokens; row n of `features` is that of text n.

        Texts are cut at `max_ad_tokens`, and read in batches of similar length, each padded to its own longest;
        bfloat16 where fast. Raises `InputError` if the features are of other ads or of another encoder.
        """
        of_tokens = [np.empty((0, self.settings.token_dimension), dtype=np.int8)] * len(texts)
        wanted = of_tokens if self.settings.token_dimension and texts else None
        embeddings = self._read_ads(texts, features, batch_size, progress, wanted)
        return EmbeddedAds(embeddings, TokenVectors.build(wanted) if wanted else None)

    @torch.inference_mode()
    def _read_ads(
        self,
        texts: Sequence[str],
        features: FeatureStore | None,
        batch_size: int,
        progress: Progress | None,
        of_tokens: list[NDArray[np.int8]] | None,
    ) -> NDArray[np.float32]:
        """Return unit embeddings (N, D), and fill `of_tokens` (N entries), if given, with the codes of each ad."""
        if features is not None and self.settings.reads_augmentation:
            self._check(len(texts), features)
        embeddings = np.empty((len(texts), self.dimension), dtype=np.float32)
        device, num_done = self.encoder.device, 0
        for rows in _by_length(texts, batch_size):
            token_ids, lengths = self.tokenizer.encode(
                [texts[row] for row in rows], self.settings.max_ad_tokens, TextKind.PASSAGE
            )
            ids, num = torch.from_numpy(token_ids).to(device), torch.from_numpy(lengths).to(device)
            own = None if features is None else features.batch(rows).to(device)
            with autocast(device):
                encoded = self.encoder.encode_ads(ids, num, own)
            embeddings[rows] = encoded.embeddings.float().cpu().numpy()
            if of_tokens is not None:
                codes = TokenVectors.codes_of(encoded.tokens.float().cpu().numpy())
                for row, each, length in zip(rows.tolist(), codes, lengths.tolist(), strict=True):
                    of_tokens[row] = each[:length].copy()  # not the padding of its batch
            num_done += len(rows)
            if progress:
                progress("Embedding ads", num_done, len(texts), "")
        return embeddings

    def _check(self, num_texts: int, features: FeatureStore) -> None:
        if len(features) != num_texts:
            raise InputError(
                f"features of {len(features)} ads for {num_texts} texts", cure="compute them from the same catalogue"
            )
        if features.dimension != self.encoder.feature_size:
            raise InputError(
                f"features of {features.dimension} dimensions for an encoder that takes {self.encoder.feature_size}",
                cure="compute them with the encoder that training started from",
            )

    def save(self, directory: Path) -> None:
        """Write encoder.json, encoder.safetensors and the backbone's own files into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        backbone, tokenizer = self.encoder.backbone, self.tokenizer
        if isinstance(backbone, CompactBackbone) and isinstance(tokenizer, StudentTokenizer):
            kind = _COMPACT
            backbone.save(tokenizer, directory / _BACKBONE)
        elif isinstance(backbone, HuggingFaceBackbone) and isinstance(tokenizer, HuggingFaceTokenizer):
            kind = _HUGGING_FACE
            backbone.save(tokenizer, directory / _BACKBONE)
        else:
            raise SettingsError(
                f"a {type(backbone).__name__} with a {type(tokenizer).__name__} cannot be saved; "
                "take a backbone and the tokenizer it was loaded with"
            )
        config = {
            "backbone": kind,
            "feature_size": self.encoder.feature_size,
            "settings": asdict(self.settings),
        }
        write_text(directory / _CONFIG, json.dumps(config, indent=1))
        with atomic_write(directory / _WEIGHTS) as file:
            file.write(save({k: v.contiguous() for k, v in self.encoder.parts_state().items()}))

    @classmethod
    def load(cls, directory: Path) -> "Embedder":
        """Load what `save` wrote, onto the CPU; raise `ArtifactError` naming the file that does not fit."""
        kind, feature_size, settings = _read_config(directory / _CONFIG)
        backbone: TextBackbone
        tokenizer: TextTokenizer
        if kind == _COMPACT:
            backbone, tokenizer = CompactBackbone.load(directory / _BACKBONE)
        else:
            backbone, tokenizer = HuggingFaceBackbone.restore(directory / _BACKBONE)
        try:
            encoder = BridgeEncoder(backbone, settings, feature_size)
        except SettingsError as error:
            raise ArtifactError(f"{directory / _CONFIG}: {error}") from error
        path = directory / _WEIGHTS
        encoder.load_parts(read_weights(path), path)
        return cls(encoder, tokenizer)


def _by_length(texts: Sequence[str], batch_size: int) -> list[NDArray[np.int64]]:
    """Return the rows of texts in batches of similar length."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _read_config(path: Path) -> tuple[str, int, EncoderSettings]:
    """Return kind of backbone, feature size and settings."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind, size = str(content["backbone"]), int(content["feature_size"])
        if kind not in (_COMPACT, _HUGGING_FACE) or size < 1:
            raise ValueError(f"a backbone {kind!r}, features of size {size}")
        return kind, size, from_mapping(EncoderSettings, content["settings"], "settings")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, SettingsError) as error:
        raise ArtifactError(f"{path} does not describe an encoder ({error}); train it again") from error
