"""Three dozen ads in two languages and what was asked for them; a progress that watches a build."""

from dataclasses import dataclass
from pathlib import Path

from intently.build.training.fusion import FusionSettings, held_out
from intently.text.normalize import normalize

THINGS = ("drill", "kettle", "lamp", "shoes", "vacuum", "hose", "水壶", "跑鞋", "台灯", "吸尘器", "电钻", "水管")
KINDS = (("red", "cordless"), ("blue", "heavy"), ("红色", "家用"))
NUM_ADS = len(THINGS) * len(KINDS)
FUSION = FusionSettings(
    held_out_share=0.4, min_queries=10, max_trees=30, num_leaves=4, min_leaf=5, learning_rate=0.3, max_p_value=1.0
)


def title(row: int) -> str:
    return " ".join((*KINDS[row % len(KINDS)], THINGS[row // len(KINDS)]))


# Characters that are written alike in traditional and simplified Chinese, which are read alike.
LETTERS = [chr(code) for code in range(0x5000, 0x6000, 11) if normalize(chr(code)) == chr(code)]


def letter(number: int) -> str:
    """Return a character that no other query and no ad has."""
    return LETTERS[number]


# Of every ad three queries with a character of their own each, by which what has learned of them can be told.
QUERIES = tuple(f"{title(number // 3)} {2 * letter(number)}" for number in range(3 * NUM_ADS))
# And one that is an intention, as the ad bids on it, but was clicked for another ad: (text, clicked row).
BIDS = tuple((f"buy {THINGS[number]}", (3 * number + 7) % NUM_ADS) for number in range(len(THINGS)))
ASKED = (*QUERIES, *(text for text, _ in BIDS))
ASIDE = dict(zip(ASKED, held_out(ASKED, FUSION.held_out_share, FUSION.seed).tolist(), strict=True))


@dataclass(frozen=True)
class World:
    """The files of a build."""

    folder: Path

    def __getattr__(self, name: str) -> Path:
        return self.folder / {"ads": "ads.tsv", "clicks": "clicks.tsv"}.get(name, f"{name}.jsonl")


class Stages:
    """A progress that remembers which stages came after which, and may give up."""

    def __init__(self, until: str = "", done: int = 0) -> None:
        self.seen: list[str] = []
        self.steps: list[int] = []  # of the encoder's training
        self._until, self._done = until, done

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        if self.seen[-1:] != [stage]:
            self.seen.append(stage)
        if stage == "Training the encoder" and done not in self.steps:
            self.steps.append(done)
        if stage == self._until and done >= self._done:
            raise KeyboardInterrupt

    @property
    def trained(self) -> set[str]:
        return {stage.removeprefix("Training the ") for stage in self.seen if stage.startswith("Training")}
