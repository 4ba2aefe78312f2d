"""What a build keeps while it runs, and how it tells whether that, or a finished generation, is what it would make.

    .build/student-<digest>/   of a build whose student has this fingerprint: checkpoint, student, what it says of ads
    .build/encoder-<digest>/   of one whose encoder has this fingerprint

What belongs to other inputs or settings has another name, so that nothing has to be removed to be sure. A step that is
done carries the checksums of its files; one that does not agree with them is set aside and done again.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from intently.build.settings import BuildSettings
from intently.engine.relevance import VERSION as EVIDENCE_VERSION
from intently.errors import ArtifactError, InputError
from intently.files import PARTIAL, atomic_write, set_aside, sha256_of, write_text
from intently.generation import FORMAT, open_generation
from intently.generation.layout import WORK, ids_of
from intently.models.pretrained import checkpoint_files, files_in
from intently.text.rules import TEXT_RULES_VERSION

STUDENT, ENCODER = "student", "encoder"  # what is trained: a directory of the work, and of the generation
_DONE = "done"
_FORMAT = 7  # of what a build keeps while it runs: what another one left is not read
_FUSION_EXAMPLES = 2  # of how the fusion's examples are made: what learned from others is learned again
_CALIBRATION_EXAMPLES = 1  # of how those of the calibration are made: an engine calibrated by others is built again
_OURS = re.compile(f"({STUDENT}|{ENCODER})-[0-9a-f]{{16}}(\\.aside-\\d+)?")


@dataclass(frozen=True)
class Fingerprints:
    """Digests of all that decides the trained student, the trained encoder, a learned fusion, and the rest."""

    student: str
    encoder: str
    fusion: str
    artifact: str


@dataclass(frozen=True)
class Work:
    """The directories of a running build."""

    student: Path
    encoder: Path


def fingerprints_of(
    files: list[Path | None], settings: BuildSettings, skip_bad: bool, columns: Mapping[str, str] | None = None
) -> Fingerprints:
    """Return digests over the files' bytes, what `columns` of clicks are, formats and rules, and settings that matter.

    Settings of retrieval never do.
    """
    for path in files:
        if path and not path.is_file():
            raise InputError("no such file", cure="check the path", path=path)
    if settings.checkpoint:
        files = [*files, *checkpoint_files(settings.checkpoint)]
    if settings.teacher.knowledge_file:
        files.append(Path(settings.teacher.knowledge_file))
    for model in (settings.teacher.model, settings.ocr_model):
        files += files_in(Path(model.name)) if model.name else []
    inputs = [
        *((path.name, sha256_of(path)) if path and path.is_file() else "" for path in files),
        skip_bad,
        dict(columns or {}),
    ]
    every = asdict(settings)
    augmentation = Path(settings.bridge.augmentation_file) if settings.bridge.augmentation_file else None
    if augmentation and not augmentation.is_file():
        raise InputError("no such file", cure="check 'bridge.augmentation_file'", path=augmentation)
    augmented = sha256_of(augmentation) if augmentation else ""
    started = checkpoint_files(settings.bridge.checkpoint) if settings.bridge.checkpoint else []
    encoder_start = [(path.name, sha256_of(path)) for path in started]
    code = [_FORMAT, FORMAT, TEXT_RULES_VERSION]

    def digest(*left_out: str, more: object = None) -> str:
        decisive = {key: value for key, value in every.items() if key not in left_out}
        return hashlib.sha256(json.dumps([code, inputs, decisive, more], sort_keys=True).encode()).hexdigest()

    indexing = ("calibration", "guidance", "postings", "lexical", "coarse", "ocr", "ocr_model", "runtime", "device")
    fusion = settings.fusion
    split = [settings.lexical.stemmer, fusion.held_out_share, fusion.min_queries, fusion.seed]  # who is held out
    guided_by = settings.guidance.prior_temperature if settings.training.guided else None
    return Fingerprints(
        student=digest("retrieval", *indexing, "bridge", "fusion", more=[*split, guided_by]),
        # The lexical index may teach the encoder.
        encoder=digest(
            *("retrieval", "calibration", "guidance", "postings", "coarse", "runtime", "device", "fusion"),
            more=[*split, augmented, encoder_start],
        ),
        fusion=digest("retrieval", more=[_seen_by_fusion(settings), _FUSION_EXAMPLES]),
        artifact=digest("retrieval", more=[augmented, encoder_start, _CALIBRATION_EXAMPLES, EVIDENCE_VERSION]),
    )


def _seen_by_fusion(settings: BuildSettings) -> dict[str, object]:
    """Return the retrieval settings that decide what a fusion learns from."""
    machine = ("runtime", "num_threads")
    return {key: value for key, value in asdict(settings.retrieval).items() if key not in machine}


def prepare(root: Path, fingerprints: Fingerprints) -> Work:
    """Return the work directories inside `root`, with what earlier builds left or published that this one can use.

    `root` must be locked (`build_lock`).
    """
    work = Work(
        *(
            root / WORK / f"{name}-{fingerprint[:16]}"
            for name, fingerprint in ((STUDENT, fingerprints.student), (ENCODER, fingerprints.encoder))
        )
    )
    for directory in (root / WORK, work.student, work.encoder):
        if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
            set_aside(directory, f"{directory} is not a directory")
        directory.mkdir(exist_ok=True)
    wanted = [
        (name, trained, fingerprint)
        for name, trained, fingerprint in (
            (STUDENT, work.student / STUDENT, fingerprints.student),
            (ENCODER, work.encoder / ENCODER, fingerprints.encoder),
        )
        if not is_finished(trained)
    ]
    for generation_id in reversed(ids_of(root)) if wanted else ():
        wanted = [each for each in wanted if not _take_over(root, generation_id, *each)]
    return work


def _take_over(root: Path, generation_id: str, name: str, trained: Path, fingerprint: str) -> bool:
    """Copy what a generation holds of this name and fingerprint, if it does; return whether it did."""
    try:
        with open_generation(root, generation_id, verify=False) as found:
            if found.manifest.fingerprints.get(name) != fingerprint or name not in found:
                return False
        with open_generation(root, generation_id) as found:
            begin(trained)
            for file in found.manifest.files:
                if file.startswith(f"{name}/"):
                    target = trained.parent / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with found.path(file).open("rb") as content, atomic_write(target) as copy:
                        shutil.copyfileobj(content, copy, 1 << 20)
            found.check_unchanged()
    except ArtifactError:  # damaged: trained again, unless another generation has it
        return False
    finish(trained)
    return True


def clear(root: Path) -> None:
    """Remove the work of all builds in `root`, which must be locked."""
    if not (root / WORK).is_dir() or (root / WORK).is_symlink():
        return
    for path in (root / WORK).iterdir():
        if _OURS.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    if not any((root / WORK).iterdir()):
        (root / WORK).rmdir()


def begin(directory: Path) -> None:
    """Make a directory empty for a step that is not finished."""
    if directory.is_dir() and not directory.is_symlink():
        shutil.rmtree(directory)
    elif directory.is_symlink() or directory.exists():
        set_aside(directory, f"{directory} is not a directory")
    directory.mkdir(parents=True)


def is_finished(directory: Path) -> bool:
    """Return whether what was made in `directory` is complete; if it was and is damaged, set it aside."""
    mark = directory / _DONE
    if not mark.exists():
        return False
    try:
        files = json.loads(mark.read_bytes())["files"]
        if files and all(sha256_of(directory / name) == digest for name, digest in files.items()):
            return True
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    set_aside(directory, f"{directory} is torn or has been altered (its checksums differ)")
    return False


def finish(directory: Path) -> None:
    """Note that what was made in `directory` is complete, with checksums."""
    files = {
        path.relative_to(directory).as_posix(): sha256_of(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != _DONE and not path.name.endswith(PARTIAL)
    }
    write_text(directory / _DONE, json.dumps({"files": files}, indent=1))
