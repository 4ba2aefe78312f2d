"""Doubtful OCR text, corrected by a language model.

The model only proposes: `intently.text.ocr_cleaning` keeps a proposal if it is within the edit budget of what was read
and leaves every number as it was.
"""

import torch

from intently.models.causal_lm import CausalLM

_INSTRUCTION = (
    "The line below was read from an advertisement by OCR and has misread letters. Write the line again with the "
    "misread letters corrected, in the same language. Change nothing else, and add nothing.\n\n"
)
_SPARE_TOKENS = 4  # a correction is about as long as what was read


class OcrRepairer:
    """Asks a language model to correct one text at a time, greedily. Remembers its answers."""

    def __init__(self, lm: CausalLM, max_tokens: int = 64) -> None:
        """Texts of more than `max_tokens` tokens are returned as they are."""
        self._lm, self._max_tokens = lm, max_tokens
        self._answers: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return the model's first line of answer; the text itself if that is empty."""
        answer = self._answers.get(text)
        if answer is None:
            answer = self._answers[text] = self._ask(text)
        return answer

    @torch.inference_mode()
    def _ask(self, text: str) -> str:
        num_tokens = len(self._lm.tokens([text])[0])
        if num_tokens > self._max_tokens:
            return text
        prompt = self._lm.instruct(_INSTRUCTION + text)
        token_ids = torch.tensor([prompt], device=self._lm.model.device)
        said = self._lm.model.generate(
            token_ids,
            attention_mask=torch.ones_like(token_ids),
            max_new_tokens=num_tokens + _SPARE_TOKENS,
            do_sample=False,
            pad_token_id=self._lm.end_id,
        )
        answer = str(self._lm.tokenizer.decode(said[0, len(prompt) :], skip_special_tokens=True))
        return next((line.strip() for line in answer.splitlines() if line.strip()), text)
