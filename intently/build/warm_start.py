"""Training again from the last student, instead of from a pretrained encoder."""

from dataclasses import replace
from pathlib import Path

from intently.build.settings import BuildSettings
from intently.build.work import STUDENT
from intently.generation import open_generation


def started_from(settings: BuildSettings, directory: Path) -> BuildSettings:
    """Return settings of a build whose student starts from that of the engine in `directory`, as it is now.

    An encoder of the dense channel starts from where it would have started. Raises `ArtifactError` for an engine that
    cannot be trusted.
    """
    with open_generation(directory) as found:
        student = str(found.path(STUDENT))
    bridge = settings.bridge
    if bridge.enabled and not bridge.checkpoint:
        bridge = replace(bridge, checkpoint=settings.checkpoint)
    return replace(settings, checkpoint=student, bridge=bridge)
