"""The teacher: a language model that learns the trade and the format, then says intentions of ads and head queries.

    language model → knowledge injection → format fine-tuning → free beams: what ads offer and head queries want
                                                              → constrained decoding over a vocabulary

Everything expensive lies under a work directory and is done once: both stages of training keep checkpoints, and what
was said is appended to a file, so an interrupted run goes on where it was. (RARE, sections "customized LLM" and
"index construction".)
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from intently.arrays import IntArray
from intently.build.knowledge.instances import Instance, read_instances
from intently.build.training.format import FormatSettings, ad_prompt, format_examples, query_prompt
from intently.build.training.language_model import Example, FineTuningSettings, fine_tune
from intently.build.training.pairs import Taught, TrainingData
from intently.catalog.jsonl import whole_lines
from intently.engine.cache import QueryCache
from intently.errors import InputError
from intently.files import set_aside, sha256_of, write_text
from intently.index.intentions import IntentionIndex
from intently.index.phrases import PhraseTable
from intently.intentions.candidates import merge_generated
from intently.intentions.decode import MAX_BEAMS, Decoded, DecodeSettings, ScoreMode
from intently.intentions.trie import Trie
from intently.models.causal_lm import CausalLM, LanguageModelSettings
from intently.models.free_beams import FreeBeamSettings, GeneratedText, free_beam_search
from intently.settings import check_range
from intently.text.query_text import QueryText
from intently.types import Progress


@dataclass(frozen=True)
class TeacherSettings:
    """Which language model teaches, how it is customized, and how much it says."""

    model: LanguageModelSettings = field(default_factory=LanguageModelSettings)
    directory: str = ""  # keeps the customized model, used as it is if it is there, and what it said; empty: nothing
    knowledge_file: str = ""  # instances that `intently knowledge` wrote; empty: no knowledge is injected
    knowledge: FineTuningSettings = field(default_factory=FineTuningSettings)
    format: FineTuningSettings = field(default_factory=FineTuningSettings)
    examples: FormatSettings = field(default_factory=FormatSettings)
    beams: FreeBeamSettings = field(default_factory=FreeBeamSettings)
    max_ads: int | None = None  # ads it speaks of, those with the fewest clicks first; None: all
    max_queries: int | None = None  # queries it speaks of for the student to learn, the most clicked first; None: all
    max_cached_queries: int = 5_000  # queries it answers for the query cache, the most clicked first
    cache_beams: int = 50  # intentions of a cached query
    batch_size: int = 8  # prompts at once

    def __post_init__(self) -> None:
        for name in ("max_ads", "max_queries"):
            if getattr(self, name) is not None:
                check_range(self, name)
        check_range(self, "max_cached_queries")
        check_range(self, "cache_beams", low=1, high=MAX_BEAMS)
        check_range(self, "batch_size", low=1)


@dataclass(frozen=True)
class TeacherLabels:
    """What a teacher said: of each ad and each query (text, log-probability) pairs, none of those it did not read.

    Without a teacher all is empty.
    """

    ads: Sequence[Sequence[tuple[str, float]]] = ()
    queries: Sequence[Sequence[tuple[str, float]]] = ()
    lm: CausalLM | None = None

    def of_queries(self, phrases: PhraseTable) -> Taught:
        """Return what was said of queries as intentions of a vocabulary; what the vocabulary lacks is left out."""
        found = [
            (intention_id, row, log_prob)
            for row, said in enumerate(self.queries)
            for text, log_prob in said
            if (intention_id := phrases.exact(text)) is not None
        ]
        return Taught(*merge_generated(found))


def label_with_teacher(
    data: TrainingData, counts: IntArray, settings: TeacherSettings, work: Path, progress: Progress
) -> TeacherLabels:
    """Customize the language model that `settings` name and let it speak of ads and queries; nothing if none is named.

    `data` are clicks and a draft vocabulary, from which it learns the format; `counts (P,)` how often each click was
    made.
    """
    if not settings.model.name:
        return TeacherLabels()
    progress("Loading the language model", 0, 0, "")
    work.mkdir(parents=True, exist_ok=True)
    lm = customize(settings.model.load(), data, settings, work, progress)
    clicks = data.clicks
    of_ads = np.bincount(clicks[:, 1], weights=counts, minlength=len(data.ad_texts))
    of_queries = np.bincount(clicks[:, 0], weights=counts, minlength=len(data.queries))
    order = np.random.default_rng(0).permutation(len(data.ad_texts))  # among ads with equally few clicks
    ad_rows = order[np.argsort(of_ads[order], kind="stable")][: settings.max_ads]
    query_rows = np.argsort(-of_queries, kind="stable")[: settings.max_queries]
    home = _home(settings, work)
    ad_prompts = _prompts(lm, ad_prompt, [data.ad_texts[row] for row in ad_rows], settings)
    query_prompts = _prompts(lm, query_prompt, [data.queries[row] for row in query_rows], settings)
    ads = speak(lm, ad_prompts, settings, _store(home, ad_prompts, settings), "Speaking of ads", progress)
    queries = speak(lm, query_prompts, settings, _store(home, query_prompts, settings), "Speaking of queries", progress)
    return TeacherLabels(_by_row(ad_rows, ads, len(data.ad_texts)), _by_row(query_rows, queries, len(data.queries)), lm)


def _home(settings: TeacherSettings, work: Path) -> Path:
    """Return where the customized model and what it said are kept."""
    return Path(settings.directory) if settings.directory else work / "teacher"


def _store(home: Path, instructions: Sequence[str], settings: TeacherSettings) -> Path:
    """Return the file of what the model in `home` says to these instructions, searched in this way."""
    decisive = [list(instructions), asdict(settings.beams)]
    digest = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()
    return home / f"said-{digest[:16]}.jsonl"


def _prompts(lm: CausalLM, prompt: Callable[[str], str], texts: Sequence[str], settings: TeacherSettings) -> list[str]:
    """Return the instructions for texts, which are cut as in training."""
    return [prompt(text) for text in lm.shortened(texts, settings.examples.max_text_tokens)]


def _by_row(rows: IntArray, said: list[list[GeneratedText]], num_rows: int) -> list[list[tuple[str, float]]]:
    by_row: list[list[tuple[str, float]]] = [[] for _ in range(num_rows)]
    for row, answers in zip(rows.tolist(), said, strict=True):
        by_row[row] = [(each.text, each.log_prob) for each in answers]
    return by_row


def fill_query_cache(
    labels: TeacherLabels,
    intentions: IntentionIndex,
    queries: Iterable[QueryText],
    path: Path,
    settings: TeacherSettings,
    progress: Progress,
) -> int:
    """Write the teacher's intentions of head queries, the most frequent first, to `path`; return how many queries.

    The teacher reads a query as the engine's own models do. Nothing is written without a teacher.
    """
    if labels.lm is None or not settings.max_cached_queries:
        return 0
    texts = {text.key: text.for_models for text in queries if not text.says_nothing}
    head = dict(list(texts.items())[: settings.max_cached_queries])
    trie = Trie.build(labels.lm.tokens(intentions.texts))
    instructions = _prompts(labels.lm, query_prompt, list(head.values()), settings)
    decoded = decode_all(
        labels.lm, instructions, trie, settings.cache_beams, settings, "Answering head queries", progress
    )
    QueryCache.build(path, list(head), decoded, intentions.version)
    return len(head)


def customize(lm: CausalLM, data: TrainingData, settings: TeacherSettings, work: Path, progress: Progress) -> CausalLM:
    """Return the language model after knowledge injection (if a file is named) and format fine-tuning.

    The result, and how the losses went, are kept in `settings.directory` or under `work`; `lm` itself may be used up.
    """
    done, made_of = _home(settings, work), _made_of(data, settings)
    if (done / "training.json").is_file() and _is_whole(done, made_of, settings):
        return _reload(lm, done)
    work.mkdir(parents=True, exist_ok=True)
    histories = {}
    if settings.knowledge_file:
        examples = knowledge_examples(lm, read_instances(Path(settings.knowledge_file)))
        lm, histories["knowledge"] = _stage("knowledge", lm, examples, settings.knowledge, work, progress)
    lm, histories["format"] = _stage(
        "format", lm, format_examples(lm, data, settings.examples), settings.format, work, progress
    )
    lm.save(done)
    told = {"made_of": made_of, "settings": asdict(settings), **histories, "files": _model_files(done)}
    write_text(done / "training.json", json.dumps(told, indent=1))
    for checkpoint in work.glob("*.pt"):
        checkpoint.unlink()
    return lm


def _is_whole(home: Path, made_of: str, settings: TeacherSettings) -> bool:
    """Return whether `home` holds the teacher that is wanted, undamaged.

    A damaged one is set aside if it is the build's own. Raises `InputError` for a directory that the user named and
    that is damaged or of another teacher.
    """
    problem, cure = "", "name a new directory, or delete this one"
    try:
        told = json.loads((home / "training.json").read_bytes())
        if told.get("made_of") != made_of:
            problem = "holds a teacher that learned from another model, knowledge, clicks or settings"
        elif told.get("files", _model_files(home)) != _model_files(home):  # one of before has no checksums
            problem = "holds a teacher that is torn or has been altered (its checksums differ)"
    except (OSError, ValueError, AttributeError) as error:
        problem = f"holds a teacher whose training.json is torn ({error})"
    if problem and not settings.directory:
        set_aside(home, f"{home} {problem}")
        return False
    if problem:
        raise InputError(problem, cure=cure, path=home)
    return True


def _model_files(home: Path) -> dict[str, str]:
    """Return the checksums of the files of a customized model."""
    names = sorted(path.name for path in home.iterdir() if path.is_file())
    return {
        name: sha256_of(home / name)
        for name in names
        if name != "training.json" and not name.startswith(("said-", ".")) and ".aside-" not in name
    }


def _made_of(data: TrainingData, settings: TeacherSettings) -> str:
    """Return a digest of all that decides what the customized model is."""
    knowledge = sha256_of(Path(settings.knowledge_file)) if settings.knowledge_file else ""
    stages = [asdict(each) for each in (settings.knowledge, settings.format, settings.examples)]
    model = [settings.model.name, settings.model.precision, settings.model.system]
    digest = hashlib.sha256(json.dumps([model, knowledge, stages]).encode())
    for text in (*data.queries, *data.intentions, *data.ad_texts):
        digest.update(text.encode() + b"\n")
    digest.update(data.clicks.tobytes())
    return digest.hexdigest()


def knowledge_examples(lm: CausalLM, instances: Sequence[Instance]) -> list[Example]:
    """Return instances as examples in the model's chat template."""
    answers = lm.tokens([instance.response for instance in instances])
    return [
        Example(lm.instruct(instance.prompt), (answer,)) for instance, answer in zip(instances, answers, strict=True)
    ]


def _stage(
    name: str, lm: CausalLM, examples: Sequence[Example], settings: FineTuningSettings, work: Path, progress: Progress
) -> tuple[CausalLM, dict[str, object]]:
    told = f"{'Injecting knowledge' if name == 'knowledge' else 'Learning the format'}"
    trained = fine_tune(
        lm,
        examples,
        settings,
        checkpoint=work / f"{name}.pt",
        progress=lambda _, *amount: progress(told, *amount),
    )
    history = {"num_examples": len(examples), "stopped_early": trained.stopped_early, "losses": trained.history}
    return trained.lm, history


def _reload(lm: CausalLM, directory: Path) -> CausalLM:
    precision = "fp32" if str(lm.model.dtype) == "torch.float32" else "bf16"
    settings = LanguageModelSettings(str(directory), precision, str(lm.model.device), lm.system)  # type: ignore[arg-type]
    return settings.load()


def speak(
    lm: CausalLM,
    instructions: Sequence[str],
    settings: TeacherSettings,
    store: Path | None,
    stage: str,
    progress: Progress,
) -> list[list[GeneratedText]]:
    """Return what the model says to each instruction, nothing constraining it; kept in `store`, if given, a line each.

    A store that was begun with the same instructions is gone on with.
    """
    told: dict[int, list[GeneratedText]] = {}
    for row, answers in map(json.loads, whole_lines(store)) if store else ():
        told[row] = [GeneratedText(text, log_prob) for text, log_prob in answers]
    prompts = [lm.instruct(instruction) for instruction in instructions]
    todo = sorted((row for row in range(len(prompts)) if row not in told), key=lambda row: len(prompts[row]))
    with store.open("a", encoding="utf-8") if store else nullcontext() as file:
        for start in range(0, len(todo), settings.batch_size):
            rows = todo[start : start + settings.batch_size]
            reading = lm.read_tokens([prompts[row] for row in rows])
            for row, said in zip(rows, free_beam_search(lm, reading, settings.beams), strict=True):
                told[row] = said
                if file:
                    kept = [[each.text, each.log_prob] for each in said]
                    file.write(json.dumps([row, kept], ensure_ascii=False) + "\n")
            if file:
                file.flush()
            progress(stage, len(told), len(prompts), "")
    return [told[row] for row in range(len(prompts))]


def decode_all(
    lm: CausalLM,
    instructions: Sequence[str],
    trie: Trie,
    num_beams: int,
    settings: TeacherSettings,
    stage: str,
    progress: Progress,
) -> list[Decoded]:
    """Return the intentions (by id) that the model finds for each instruction by constrained decoding over `trie`.

    `full` mode, in which the model was trained; its log-probabilities are renormalised over what was found.
    """
    decoder = lm.decoder(trie)
    decoding = DecodeSettings(num_beams=num_beams, temperature=settings.beams.temperature, mode=ScoreMode.FULL)
    prompts = [lm.instruct(instruction) for instruction in instructions]
    order = np.argsort([len(prompt) for prompt in prompts], kind="stable")
    found: list[Decoded] = [Decoded(np.empty(0, dtype=np.int64), np.empty(0))] * len(prompts)
    for start in range(0, len(order), settings.batch_size):
        rows = order[start : start + settings.batch_size]
        reading = lm.read_tokens([prompts[row] for row in rows])
        for row, decoded in zip(rows, decoder.decode(reading, decoding), strict=True):
            found[row] = _renormalised(decoded)
        progress(stage, start + len(rows), len(prompts), "")
    return found


def _renormalised(decoded: Decoded) -> Decoded:
    """Return the intentions with log-probabilities that sum to 1: those of `full` mode leave out all other text."""
    if not len(decoded.log_probs):
        return decoded
    total = np.logaddexp.reduce(decoded.log_probs)
    return Decoded(decoded.intention_ids, decoded.log_probs - total)
