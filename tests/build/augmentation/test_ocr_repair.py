import pytest
import torch

from intently.build.augmentation.ocr_repair import OcrRepairer
from intently.text.ocr_cleaning import Fate, OcrCleaner, OcrSettings
from intently.text.ocr_lexicon import OcrLexicon
from intently.types import Span


class Saying(OcrRepairer):
    """With an answer in the model's place."""

    def __init__(self, lm, answer):
        super().__init__(lm)
        lm.model.generate = self.generate
        self.lm, self.answer, self.calls = lm, answer, []

    def generate(self, token_ids, **options):
        self.calls.append(options["max_new_tokens"])
        return torch.cat([token_ids, torch.tensor([self.lm.tokens([self.answer])[0]])], dim=1)


@pytest.fixture
def lm(make_lm):
    return make_lm()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("robot filter\nI corrected one letter.", "robot filter"),
        ("\n  扫地机器人\n", "扫地机器人"),
        ("\n \n", "robot fiIter"),  # nothing said: the text itself
    ],
)
def test_says_the_first_line_of_the_answer_and_asks_once(lm, answer, said):
    repairer = Saying(lm, answer)
    assert repairer("robot fiIter") == repairer("robot fiIter") == said
    assert repairer.calls == [len("robot fiIter") + 4]  # the model reads bytes


def test_long_texts_are_not_asked_about(lm):
    repairer = Saying(lm, "x")
    assert repairer("y" * 65) == "y" * 65
    assert repairer.calls == []


def test_is_greedy(lm):
    text = "fiIter"
    prompt = lm.instruct(
        "The line below was read from an advertisement by OCR and has misread letters. Write the line again with the "
        f"misread letters corrected, in the same language. Change nothing else, and add nothing.\n\n{text}"
    )
    ids = list(prompt)
    for _ in range(len(text) + 4):  # the slow twin
        ids.append(int(lm.model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == lm.end_id:
            break
    said = lm.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
    assert OcrRepairer(lm)(text) == next((line.strip() for line in said.splitlines() if line.strip()), text)


def test_a_cleaner_takes_it(lm):
    lexicon = OcrLexicon({"robot": 3, "cleaner": 2})
    span = Span("roomba cieanur", 0.6)
    assert OcrCleaner(lexicon, OcrSettings(), Saying(lm, "Roomba cleaner")).clean(span).fate is Fate.MODEL
    assert OcrCleaner(lexicon, OcrSettings(), Saying(lm, "a vacuum cleaner")).clean(span).fate is Fate.DROPPED
