"""The encoder and its tokenizer together, ready to embed queries and ads.

PyTorch is imported when it is to read, or when the encoder itself is asked for, as training does. An encoder over the
compact backbone that is loaded for ONNX Runtime does without.

Shape letters: N texts, S source length, D hidden size.
"""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from intently.errors import ArtifactError, InputError, SettingsError
from intently.files import atomic_write, write_text
from intently.index.token_vectors import TokenVectors
from intently.models.encoder.settings import EncoderSettings
from intently.models.encoder.stored import StoredEncoder
from intently.models.files import map_weights
from intently.models.network import need_torch
from intently.models.student import Runtime, Student
from intently.models.tokenizer import StudentTokenizer, TextKind
from intently.settings import from_mapping
from intently.types import Progress

if TYPE_CHECKING:
    from intently.models.encoder.backbone import TextTokenizer
    from intently.models.encoder.features import FeatureStore
    from intently.models.encoder.model import BridgeEncoder
    from intently.models.encoder.torch_reader import TorchReader

# Token ids (B, S) and lengths (B,) to unit embeddings (B, D), and those of tokens (B, S, P).
_Read = Callable[[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[np.float32], NDArray[np.float32]]]

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

    def __init__(
        self,
        encoder: Union["BridgeEncoder", StoredEncoder],
        tokenizer: "TextTokenizer",
        runtime: Runtime = Runtime.TORCH,
        num_threads: int = 1,
        *,
        directory: Path = Path("encoder"),
    ) -> None:
        """Stored weights become an encoder when PyTorch is to read. `num_threads` are ONNX Runtime's.

        `directory` is what errors name.
        """
        self._held, self._num_threads, self._directory = encoder, num_threads, directory
        if not isinstance(encoder, StoredEncoder):
            encoder.eval()
        self.tokenizer, self.runtime = tokenizer, runtime

    @property
    def encoder(self) -> "BridgeEncoder":
        """The encoder as PyTorch has it. Cost: a copy of the weights, if only these were loaded."""
        if isinstance(self._held, StoredEncoder):
            need_torch()
            from intently.models.encoder.model import BridgeEncoder

            self._held = BridgeEncoder.of(self._held, self._directory / _WEIGHTS).eval()
        return self._held

    @property
    def dimension(self) -> int:
        """Size D of the embeddings."""
        held = self._held
        return held.backbone.config.hidden_size if isinstance(held, StoredEncoder) else held.dimension

    @property
    def device(self) -> str:
        """What kind of device the weights are on, as PyTorch calls it."""
        return "cpu" if isinstance(self._held, StoredEncoder) else self._held.device.type

    @property
    def settings(self) -> EncoderSettings:
        """What the encoder is made of."""
        return self._held.settings

    @cached_property
    def _torch(self) -> "TorchReader":
        from intently.models.encoder.torch_reader import TorchReader

        return TorchReader(self.encoder)

    @cached_property
    def _read(self) -> _Read:
        """What reads queries, and ads without an augmentation."""
        if self.runtime is Runtime.TORCH:
            return self._torch.queries
        from intently.models.encoder.query_graph import QueryRunner

        held = self._held if isinstance(self._held, StoredEncoder) else self._held.stored()
        return QueryRunner(held, int8=self.runtime is Runtime.ONNX_INT8, num_threads=self._num_threads)

    def use(self, runtime: Runtime, num_threads: int = 1) -> "Embedder":
        """Return this embedder, its weights shared, whose queries `runtime` reads on `num_threads` threads.

        It reads ads without an augmentation too. PyTorch, which has its own setting for threads (`intra_op_threads`),
        reads those with one. Raises `SettingsError` for ONNX Runtime if the encoder is not on the CPU, or its backbone
        not the compact one.
        """
        if runtime is Runtime.TORCH:
            return Embedder(self.encoder, self.tokenizer)
        if not isinstance(self._held, StoredEncoder) and not self._held.is_compact:
            raise SettingsError(f"runtime '{runtime}' runs the compact backbone only; use 'torch'")
        if self.device != "cpu":
            raise SettingsError(f"runtime '{runtime}' is for CPUs and the encoder is on {self.device}; use 'torch'")
        embedder = Embedder(self._held, self.tokenizer, runtime, num_threads, directory=self._directory)
        embedder._read  # noqa: B018  # made now, and not while a query waits
        return embedder

    def on(self, device: str) -> "Embedder":
        """Return this embedder for reading on a device: itself if it is on such a one, else a copy run by PyTorch."""
        if device.partition(":")[0] == self.device:
            return self
        return Embedder(copy.deepcopy(self.encoder).to(device), self.tokenizer)

    def embed_queries(
        self, texts: Sequence[str], batch_size: int = 64, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Return unit embeddings (N, D) of queries, cut at `max_query_tokens`."""
        return self.read_queries(texts, batch_size, progress).embeddings

    def read_queries(
        self, texts: Sequence[str], batch_size: int = 64, progress: Progress | None = None
    ) -> EmbeddedQueries:
        """Return the embeddings of queries and of their tokens; queries are cut at `max_query_tokens`."""
        embeddings = np.empty((len(texts), self.dimension), dtype=np.float32)
        of_tokens = [np.empty((0, self.settings.token_dimension), dtype=np.float32)] * len(texts)
        num_done = 0
        for rows in _by_length(texts, batch_size):
            token_ids, lengths = self.tokenizer.encode([texts[row] for row in rows], self.settings.max_query_tokens)
            embeddings[rows], tokens = self._read(token_ids, lengths)
            for row, own, length in zip(rows.tolist(), tokens, lengths.tolist(), strict=True):
                of_tokens[row] = own[:length]
            num_done += len(rows)
            if progress:
                progress("Embedding queries", num_done, len(texts), "")
        return EmbeddedQueries(embeddings, of_tokens if self.settings.token_dimension else None)

    def embed_ads(
        self,
        texts: Sequence[str],
        features: "FeatureStore | None" = None,
        batch_size: int = 128,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return unit embeddings (N, D) of ads, as `read_ads` does."""
        return self._read_ads(texts, features, batch_size, progress, None)

    def read_ads(
        self,
        texts: Sequence[str],
        features: "FeatureStore | None" = None,
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

    def _read_ads(
        self,
        texts: Sequence[str],
        features: "FeatureStore | None",
        batch_size: int,
        progress: Progress | None,
        of_tokens: list[NDArray[np.int8]] | None,
    ) -> NDArray[np.float32]:
        """Return unit embeddings (N, D), and fill `of_tokens` (N entries), if given, with the codes of each ad."""
        if not self.settings.reads_augmentation:
            features = None
        if features is not None:
            self._check(len(texts), features)
        embeddings = np.empty((len(texts), self.dimension), dtype=np.float32)
        num_done = 0
        for rows in _by_length(texts, batch_size):
            token_ids, lengths = self.tokenizer.encode(
                [texts[row] for row in rows], self.settings.max_ad_tokens, TextKind.PASSAGE
            )
            if features is None and self.runtime is not Runtime.TORCH:
                embeddings[rows], tokens = self._read(token_ids, lengths)
            else:
                own = None if features is None else features.batch(rows)
                embeddings[rows], tokens = self._torch.ads(token_ids, lengths, own)
            if of_tokens is not None:
                codes = TokenVectors.codes_of(tokens)
                for row, each, length in zip(rows.tolist(), codes, lengths.tolist(), strict=True):
                    of_tokens[row] = each[:length].copy()  # not the padding of its batch
            num_done += len(rows)
            if progress:
                progress("Embedding ads", num_done, len(texts), "")
        return embeddings

    def _check(self, num_texts: int, features: "FeatureStore") -> None:
        if len(features) != num_texts:
            raise InputError(
                f"features of {len(features)} ads for {num_texts} texts", cure="compute them from the same catalog"
            )
        if features.dimension != (size := self._held.feature_size):
            raise InputError(
                f"features of {features.dimension} dimensions for an encoder that takes {size}",
                cure="compute them with the encoder that training started from",
            )

    def save(self, directory: Path) -> None:
        """Write encoder.json, encoder.safetensors and the backbone's own files into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        held, place = self._held, directory / _BACKBONE
        if isinstance(self.tokenizer, StudentTokenizer) and (isinstance(held, StoredEncoder) or held.is_compact):
            stored = held if isinstance(held, StoredEncoder) else held.stored()
            kind, parts = _COMPACT, dict(stored.parts)
            Student(stored.backbone, self.tokenizer).save(place)
        else:
            from intently.models.encoder.hugging_face import save_backbone

            kind, parts = _HUGGING_FACE, self.encoder.parts_arrays()
            save_backbone(self.encoder.backbone, self.tokenizer, place)
        config = {
            "backbone": kind,
            "feature_size": held.feature_size,
            "settings": asdict(self.settings),
        }
        write_text(directory / _CONFIG, json.dumps(config, indent=1))
        with atomic_write(directory / _WEIGHTS) as file:
            file.write(save(parts))

    @classmethod
    def load(cls, directory: Path) -> "Embedder":
        """Load what `save` wrote, onto the CPU; raise `ArtifactError` naming the file that does not fit.

        One over a Hugging Face backbone is opened by PyTorch at once.
        """
        kind, feature_size, settings = _read_config(directory / _CONFIG)
        path, place = directory / _WEIGHTS, directory / _BACKBONE
        if kind == _COMPACT:
            student = Student.load(place)
            if settings.cross_attention:
                with _config_named(directory):
                    settings.check_heads(student.dimension)
            stored = StoredEncoder(settings, feature_size, student.weights, map_weights(path))
            stored.check(path)
            return cls(stored, student.tokenizer, directory=directory)
        need_torch()
        from intently.models.encoder.hugging_face import HuggingFaceBackbone
        from intently.models.encoder.model import BridgeEncoder

        backbone, tokenizer = HuggingFaceBackbone.restore(place)
        with _config_named(directory):
            encoder = BridgeEncoder(backbone, settings, feature_size)
        encoder.load_arrays(map_weights(path), path)
        return cls(encoder, tokenizer)


@contextmanager
def _config_named(directory: Path) -> Iterator[None]:
    """Raise an `ArtifactError` that names the encoder's configuration for settings that do not fit the backbone."""
    try:
        yield
    except SettingsError as error:
        raise ArtifactError(f"{directory / _CONFIG}: {error}") from error


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
