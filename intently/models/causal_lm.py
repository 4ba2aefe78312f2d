"""Any Hugging Face causal language model as a decoder of intentions.

A prompt's keys and values are computed once and shared by all its beams; the beams are led on as positions of the same
sequence (see `intently.models.prompt`), which every model that takes a 4-D attention mask can do unchanged: Llama,
Qwen, Gemma, Mistral and their relatives. The last layer is computed only for the tokens asked for (`OutputRows`).

Shape letters: B prompts, P positions, K stored positions, S prompt length, W beams, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jinja2 import TemplateError
from torch import Tensor

from intently.arrays import Float64Array, IntArray, Mask
from intently.errors import InputError, MissingDependencyError, SettingsError, install_hint
from intently.intentions.decode import ConstrainedDecoder
from intently.intentions.trie import Trie
from intently.models.device import check_device, has_fast_bf16
from intently.models.output import OutputRows
from intently.models.packaged import packaged_model
from intently.models.prompt import Ancestry
from intently.settings import check_choice

if TYPE_CHECKING:  # an optional dependency: who builds without a language model does not need it
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

_FULL, _SLIDING = "full_attention", "sliding_attention"


class Precision(StrEnum):
    """What a language model's weights are held in."""

    AUTO = "auto"  # bfloat16 where the device multiplies it natively, else float32
    BF16 = "bf16"
    FP32 = "fp32"


@dataclass(frozen=True)
class LanguageModelSettings:
    """Which language model, and how it is spoken to."""

    name: str = ""  # Hugging Face name, directory, `.gguf` file, or "smollm2", "gemma3" (packaged); empty: none
    precision: Precision = Precision.AUTO  # of the weights: float32, bfloat16, or bfloat16 where it is fast
    device: str = "cpu"  # that runs it, as PyTorch calls it
    system: str = ""  # the system message, where the chat template has room for one

    def __post_init__(self) -> None:
        check_choice(self, "precision", Precision)
        check_device(self)

    def load(self) -> "CausalLM":
        """Load the language model; raise `SettingsError` if it cannot be loaded or used."""
        device = torch.device(self.device)
        half = self.precision is Precision.BF16 or (self.precision is Precision.AUTO and has_fast_bf16(device))
        dtype = torch.bfloat16 if half else torch.float32
        path = packaged_model(self.name) or Path(self.name)
        if path.suffix == ".gguf":
            lm = CausalLM.load(str(path.parent), gguf_file=path.name, dtype=dtype, device=self.device)
        else:
            lm = CausalLM.load(self.name, dtype=dtype, device=self.device)
        return replace(lm, system=self.system)


class LayerStack:
    """The layers of a causal LM, run over any tokens that may see any others."""

    def __init__(self, model: "PreTrainedModel") -> None:
        """Raise `SettingsError` for a model with layers that are no plain attention."""
        self._model = model
        config = model.config.get_text_config()
        kinds, self._window = set(getattr(config, "layer_types", None) or ()), getattr(config, "sliding_window", None)
        if not kinds:
            kinds = {_FULL if self._window is None else _SLIDING}
        if kinds - {_FULL, _SLIDING}:
            unknown = ", ".join(sorted(kinds - {_FULL, _SLIDING}))
            raise SettingsError(f"{type(model).__name__} has layers of kind {unknown}, which cannot be led on by beams")
        self._kinds = kinds

    def run(
        self,
        token_ids: Tensor,
        places: Tensor,
        visible: Tensor,
        key_places: Tensor,
        cache: "DynamicCache | None" = None,
    ) -> Tensor:
        """Return the states (B, P, D) of tokens at `places (B, P)` in their texts.

        `visible (B, P, K + P)`: which of the K cached and P given positions each sees; these stand at
        `key_places (B, K + P)`.
        """
        masks = {}
        for kind in self._kinds:
            seen = visible
            if kind == _SLIDING and self._window is not None:
                seen = visible & (places[:, :, None] - key_places[:, None, :] < self._window)
            mask = torch.zeros(seen.shape, dtype=self._model.dtype, device=seen.device)
            masks[kind] = mask.masked_fill_(~seen, torch.finfo(mask.dtype).min)[:, None]
        states: Tensor = self._model.base_model(
            input_ids=token_ids,
            position_ids=places,
            attention_mask=masks if len(masks) > 1 else next(iter(masks.values())),
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return states


@dataclass(frozen=True)
class CausalLM:
    """A causal language model with its tokenizer and the token that ends an intention."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    end_id: int
    system: str = field(default="", kw_only=True)  # said before every instruction, where the chat template has room

    @classmethod
    def load(
        cls, name: str, *, gguf_file: str | None = None, dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> "CausalLM":
        """Load a checkpoint by its Hugging Face name or directory, or a GGUF file in that directory."""
        _need_transformers()
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
        from transformers.utils import logging

        logging.disable_progress_bar()  # who loads a model shows progress of their own
        options: dict[str, Any] = {"gguf_file": gguf_file} if gguf_file else {}
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
            packing = {"quantization_config": GgufConfig(dequantize=True)} if gguf_file else {}  # plain layers
            model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, **options, **packing)
        except (OSError, ValueError) as error:
            raise SettingsError(f"the language model {name!r} cannot be loaded: {error}") from error
        return cls.of(model.to(torch.device(device)), tokenizer)

    @classmethod
    def of(cls, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", *, system: str = "") -> "CausalLM":
        """Take a loaded model, after checking on a few tokens that it can be led on beam by beam."""
        end_id = tokenizer.eos_token_id
        if end_id is None:
            raise SettingsError("the tokenizer has no end-of-sequence token, which must end an intention")
        model.train(False)
        language_model = cls(model, tokenizer, int(end_id), system=system)
        language_model._check()
        return language_model

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text without special tokens: what follows a prompt, such as " garden hose"."""
        if isinstance(texts, str):
            raise InputError("texts must be a list of texts, not one")
        return [list(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def instruct(self, instruction: str) -> list[int]:
        """Return the prompt's token ids that put an instruction to the model in its own chat template.

        A model without one (a base model) is given the instruction and a new line.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            return list(self.tokenizer(instruction + "\n")["input_ids"])
        user = {"role": "user", "content": instruction}
        try:
            said = self._render([{"role": "system", "content": self.system}, user])
        except TemplateError:  # some templates (Gemma's) refuse a system message: it goes before the instruction
            said = self._render(
                [{**user, "content": f"{self.system}\n\n{instruction}" if self.system else instruction}]
            )
        return list(self.tokenizer(said, add_special_tokens=False)["input_ids"])

    def shortened(self, texts: Sequence[str], max_tokens: int) -> list[str]:
        """Return each text cut after its first `max_tokens` tokens, so that a prompt made of it stays whole."""
        encoded = self.tokens(texts) if texts else []
        return [
            text if len(ids) <= max_tokens else str(self.tokenizer.decode(ids[:max_tokens])).rstrip("\ufffd")
            for text, ids in zip(texts, encoded, strict=True)
        ]

    def _render(self, messages: list[dict[str, str]]) -> str:
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def save(self, directory: Path) -> None:
        """Write the model and its tokenizer as a Hugging Face checkpoint, which `load` reads."""
        self.model.save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)

    def read(self, texts: Sequence[str], max_tokens: int) -> "CausalPrompt":
        """Read prompts; longer ones lose their beginning, so that what asks for the intentions at the end stays."""
        if isinstance(texts, str) or not texts:
            raise InputError("the prompts must be a list of texts, at least one")
        if max_tokens < 1:
            raise SettingsError(f"'max_tokens' is {max_tokens!r}; it takes a number ≥ 1")
        encoded: list[list[int]] = self.tokenizer(list(texts))["input_ids"]
        return self.read_tokens([ids[-max_tokens:] for ids in encoded])

    def read_tokens(self, prompts: Sequence[Sequence[int]]) -> "CausalPrompt":
        """Read prompts given as token ids."""
        if not prompts or not all(prompts):
            raise InputError("a prompt has no tokens")
        lengths = np.array([len(ids) for ids in prompts])
        token_ids = np.zeros((len(prompts), int(lengths.max())), dtype=np.int64)
        for row, ids in enumerate(prompts):
            token_ids[row, : len(ids)] = ids
        return CausalPrompt(self.model, token_ids, lengths)

    def decoder(
        self, trie: Trie, values: Float64Array | None = None, like: ConstrainedDecoder | None = None
    ) -> ConstrainedDecoder:
        """Return a decoder of the trie's intentions; `like` is one of another version of the trie."""
        return ConstrainedDecoder(trie, self._output(), self.end_id, values, like=like)

    def scores(self, states: Tensor) -> Tensor:
        """Return every token's score (..., V) to come next after `states (..., D)`."""
        output: Any = self.model.get_output_embeddings()
        scores: Tensor = output(states).float()
        softcap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return softcap * torch.tanh(scores / softcap) if softcap else scores

    def _output(self) -> OutputRows:
        layer: Any = self.model.get_output_embeddings()
        softcap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return OutputRows(layer.weight.detach(), getattr(layer, "bias", None), softcap)

    @torch.inference_mode()
    def _check(self) -> None:
        """Raise `SettingsError` unless beams get the scores that the model gives the same tokens in a row."""
        prompts, beams = [[5, 6, 7, 8], [9, 5]], [[[6, 7]], [[8, 9]]]
        prompt = self.read_tokens(prompts)
        states = [prompt.first()[:, None]]
        for step in range(2):
            tokens = np.array([[beam[step] for beam in prompt_beams[:1]] * 2 for prompt_beams in beams])
            tokens[:, 1] += 1  # a second beam, which the first must not see
            states.append(prompt.advance(np.zeros((2, 2), dtype=np.int64) + (np.arange(2) if step else 0), tokens))
        output = self._output()
        wanted = np.arange(10)
        packed = output.pack(wanted)
        for row, ids in enumerate(prompts):
            whole = torch.tensor([[*ids, *beams[row][0]]], device=self.model.device)
            expected = self.model(whole).logits[0, len(ids) - 1 :, :10].double().cpu().numpy()
            found = output.score_packed(torch.stack([each[row, 0] for each in states]), packed)
            allowed = 1e-3 if self.model.dtype is torch.float32 else 5e-2
            if not np.abs(found - expected).max() <= allowed * max(1.0, np.abs(expected).max()):
                raise SettingsError(
                    f"{type(self.model).__name__} gives beams other scores than the same tokens in a row; it is not "
                    "a plain causal transformer that takes a 4-D attention mask, and cannot be used here"
                )


class CausalPrompt:
    """B prompts that a causal LM has read, to be led on (the `Prompt` of `intently.intentions.decode`)."""

    def __init__(self, model: "PreTrainedModel", token_ids: IntArray, lengths: IntArray) -> None:
        """`token_ids (B, S)` are padded on the right; `lengths (B,)`."""
        from transformers import DynamicCache

        self._layers, self._cache, self._device = LayerStack(model), DynamicCache(), model.device
        self._lengths, self._num_source = lengths, token_ids.shape[1]
        self._ancestry = Ancestry(lengths, self._num_source)
        places = self._ancestry.positions
        causal = places[:, None, :] <= places[:, :, None]
        states = self._run(token_ids, places, causal & (places < lengths[:, None])[:, None, :])
        self._last = states[np.arange(len(lengths)), lengths - 1]

    def first(self) -> Tensor:
        """Begin after the prompts alone; return the states (B, D) that predict the first token."""
        if num_later := self._cache.get_seq_length() - self._num_source:
            self._cache.crop(-num_later)
        self._ancestry = Ancestry(self._lengths, self._num_source)
        return self._last

    def advance(self, parents: IntArray, tokens: IntArray) -> Tensor:
        """Give beam w of prompt b the token `tokens[b, w]` after its `parents[b, w]`; return the states (B, W, D)."""
        at, seen = self._ancestry.advance(parents)
        return self._run(tokens, np.broadcast_to(at, tokens.shape), seen)

    @torch.inference_mode()
    def _run(self, token_ids: IntArray, places: IntArray, visible: Mask) -> Tensor:
        """Return the states (B, P, D) of tokens at `places (B, P)` that see `visible (B, P, K + P)`."""
        given = (token_ids, places, visible, self._ancestry.positions)
        ids, at, seen, key_places = (torch.tensor(each, device=self._device) for each in given)
        return self._layers.run(ids, at, seen, key_places, self._cache)


def _need_transformers() -> None:
    try:
        import gguf  # noqa: F401
        import transformers  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"a language model needs transformers, and {error.name} is missing; " + install_hint("llm")
        ) from error
