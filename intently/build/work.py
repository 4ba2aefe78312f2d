"""What a build keeps while it runs, and how it tells whether that, or a finished artifact, is what it would make."""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from intently.build.settings import BuildSettings
from intently.errors import ArtifactError, InputError
from intently.files import MANIFEST, open_artifact, sha256_of
from intently.models.pretrained import checkpoint_directory

STUDENT, ENCODER = "student", "encoder"  # what is trained: a directory of the work, and of the artifact
_DONE, _MARK = "done", "fingerprint"
_FORMAT = 2  # of what a build keeps while it runs: what another one left is not read


@dataclass(frozen=True)
class Fingerprints:
    """Digests of all that decides the trained student, the trained encoder, a learned fusion, and the rest."""

    student: str
    encoder: str
    fusion: str
    artifact: str


def fingerprints_of(files: list[Path | None], settings: BuildSettings, skip_bad: bool) -> Fingerprints:
    """Return digests over the files' bytes and every setting that matters; those of retrieval never do."""
    for path in files:
        if path and not path.is_file():
            raise InputError("no such file", cure="check the path", path=path)
    files = [*files, checkpoint_directory(settings.checkpoint) / "model.safetensors"]
    if settings.teacher.knowledge_file:
        files.append(Path(settings.teacher.knowledge_file))
    inputs = [*(sha256_of(path) if path and path.is_file() else "" for path in files), skip_bad]
    every = asdict(settings)
    augmentation = Path(settings.bridge.augmentation_file) if settings.bridge.augmentation_file else None
    if augmentation and not augmentation.is_file():
        raise InputError("no such file", cure="check 'bridge.augmentation_file'", path=augmentation)
    augmented = sha256_of(augmentation) if augmentation else ""
    start = Path(settings.bridge.checkpoint) / "model.safetensors"
    started = sha256_of(start) if settings.bridge.checkpoint and start.is_file() else ""

    def digest(*left_out: str, more: object = None) -> str:
        decisive = {key: value for key, value in every.items() if key not in left_out}
        return hashlib.sha256(json.dumps([_FORMAT, inputs, decisive, more], sort_keys=True).encode()).hexdigest()

    indexing = ("postings", "lexical", "coarse", "ocr", "ocr_model", "runtime", "device")
    fusion = settings.fusion
    split = [settings.lexical.stemmer, fusion.held_out_share, fusion.min_queries, fusion.seed]  # who is held out
    return Fingerprints(
        student=digest("retrieval", *indexing, "bridge", "fusion", more=split),
        # The lexical index may teach the encoder.
        encoder=digest(
            "retrieval", "postings", "coarse", "runtime", "device", "fusion", more=[*split, augmented, started]
        ),
        fusion=digest("retrieval", more=_seen_by_fusion(settings)),
        artifact=digest("retrieval", more=[augmented, started]),
    )


def _seen_by_fusion(settings: BuildSettings) -> dict[str, object]:
    """Return the retrieval settings that decide what a fusion learns from."""
    machine = ("runtime", "num_threads")
    return {key: value for key, value in asdict(settings.retrieval).items() if key not in machine}


def prepare(out: Path, fingerprints: Fingerprints) -> Path:
    """Return the work directory inside `out`, holding what an earlier build left that this one can use, and no more."""
    if out.exists() and not out.is_dir():
        raise InputError("is a file", cure="name a directory for the engine", path=out)
    work = out / ".build"
    if out.is_dir() and any(out.iterdir()) and not any(path.exists() for path in (work, out / MANIFEST)):
        raise InputError("holds files that are not an Intently engine", cure="name a new or empty directory", path=out)
    try:
        made_of = open_artifact(out)["fingerprints"]
    except ArtifactError:
        made_of = {}
    _claim(work, fingerprints.student)
    _claim(work / ENCODER, fingerprints.encoder)
    for name, trained, wanted in (
        (STUDENT, work / STUDENT, fingerprints.student),
        (ENCODER, work / ENCODER / ENCODER, fingerprints.encoder),
    ):
        if made_of.get(name) == wanted and (out / name).is_dir() and not trained.exists():
            shutil.copytree(out / name, trained)
            finish(trained)
    return work


def is_finished(directory: Path) -> bool:
    """Return whether what was trained into `directory` is complete."""
    return (directory / _DONE).exists()


def finish(directory: Path) -> None:
    """Note that what was trained into `directory` is complete."""
    (directory / _DONE).touch()


def _claim(directory: Path, fingerprint: str) -> None:
    """Make `directory` one of work with this fingerprint, empty if it was of another."""
    mark = directory / _MARK
    if directory.exists() and not (mark.is_file() and mark.read_text() == fingerprint):
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    mark.write_text(fingerprint)
