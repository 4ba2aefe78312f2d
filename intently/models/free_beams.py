"""Free beam search: what a language model says when nothing constrains it, as short alternative answers.

The teacher finds intentions this way that are in no vocabulary yet. Prompts and beams share what was read, as in
constrained decoding (see `intently.models.prompt`), so 256 beams cost no copies of the prompt.

Shape letters: B prompts, W beams, V token vocabulary, D hidden size.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from intently.intentions.decode import MAX_BEAMS
from intently.models.causal_lm import CausalLM, CausalPrompt
from intently.settings import check_range


@dataclass(frozen=True)
class FreeBeamSettings:
    """How freely is searched; the defaults are RARE's for its teacher."""

    num_beams: int = 256  # answers that are followed at once
    temperature: float = 0.8  # of the scores; above 1 is flatter
    max_new_tokens: int = 6  # of an answer

    def __post_init__(self) -> None:
        check_range(self, "num_beams", low=1, high=MAX_BEAMS)
        check_range(self, "max_new_tokens", low=1)
        check_range(self, "temperature", exclusive=True)


@dataclass(frozen=True)
class GeneratedText:
    """One answer and its natural log-probability at the search's temperature."""

    text: str
    log_prob: float


@torch.inference_mode()
def free_beam_search(lm: CausalLM, prompt: CausalPrompt, settings: FreeBeamSettings) -> list[list[GeneratedText]]:
    """Return for each prompt at most `num_beams` complete answers of at most `max_new_tokens` tokens, best first."""
    width = settings.num_beams
    states = prompt.first()[:, None]  # (B, 1, D): width grows from one
    num_prompts = len(states)
    log_probs = states.new_zeros((num_prompts, 1), dtype=torch.float32)
    spoken = torch.zeros((num_prompts, 1, 0), dtype=torch.int64, device=states.device)
    complete: list[list[tuple[float, list[int]]]] = [[] for _ in range(num_prompts)]
    for step in range(settings.max_new_tokens + 1):
        scores = F.log_softmax(lm.scores(states) / settings.temperature, dim=-1)
        scores += log_probs[:, :, None]
        for row, ended in enumerate(scores[:, :, lm.end_id].tolist()):
            complete[row] += [
                (log_prob, tokens)
                for log_prob, tokens in zip(ended, spoken[row].tolist(), strict=True)
                if tokens and log_prob > -torch.inf
            ]
        if step == settings.max_new_tokens:
            break
        scores[:, :, lm.end_id] = -torch.inf
        num_tokens = scores.shape[2]
        log_probs, chosen = scores.flatten(1).topk(min(width, scores[0].numel() - scores.shape[1]), dim=1)
        parents, tokens = chosen // num_tokens, chosen % num_tokens
        spoken = torch.cat((_of_parents(spoken, parents), tokens[:, :, None]), dim=2)
        states = prompt.advance(parents.cpu().numpy(), tokens.cpu().numpy())
    return [_told(lm, answers, width) for answers in complete]


def _of_parents(spoken: Tensor, parents: Tensor) -> Tensor:
    return spoken.gather(1, parents[:, :, None].expand(-1, -1, spoken.shape[2]))


def _told(lm: CausalLM, answers: list[tuple[float, list[int]]], num_beams: int) -> list[GeneratedText]:
    best = sorted(answers, key=lambda answer: (-answer[0], answer[1]))[:num_beams]
    texts = lm.tokenizer.batch_decode([tokens for _, tokens in best], skip_special_tokens=True)
    return [
        GeneratedText(text.strip(), log_prob) for text, (log_prob, _) in zip(texts, best, strict=True) if text.strip()
    ]
