"""What a build made."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BuildReport:
    """What a build made: counts by name, and what was left out."""

    directory: Path
    facts: dict[str, float]
    notes: tuple[str, ...]
    generation: str = ""  # the id under which it is current now
