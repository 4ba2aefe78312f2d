"""What earlier builds published: a generation that is already what a build would make, and those that nobody needs."""

import json
from dataclasses import asdict
from pathlib import Path

from intently.build.report import BuildReport
from intently.build.settings import BuildSettings
from intently.build.work import Fingerprints, clear
from intently.engine.layout import FUSION_FILE, RELEVANCE_FILE
from intently.errors import ArtifactError
from intently.generation import About, Draft, Generation, build_lock, current_id, open_generation, prune, roll_back
from intently.generation.layout import CURRENT, WORK, ids_of, remove_leftovers


def finished_before(out: Path, fingerprints: Fingerprints, settings: BuildSettings, keep: int) -> BuildReport | None:
    """Return the report of a generation that is already what was asked for, current and with these settings.

    That of retrieval settings alone is published with others. One that is not whole is passed over.
    """
    for generation_id in _newest_first(out):
        try:
            with open_generation(out, generation_id, verify=False) as found:
                if not _is_same(found, fingerprints):
                    continue
            with open_generation(out, generation_id) as found:
                return _renewed(out, found, settings, keep)
        except ArtifactError:
            continue
    return None


def tidy(out: Path, keep: int) -> None:
    """Remove the work of finished builds, and generations beyond the `keep` newest; `out` must be locked."""
    clear(out)
    remove_leftovers(out)
    prune(out, keep)


def _newest_first(out: Path) -> list[str]:
    """Return the ids of all generations, the current one before all others."""
    try:
        current = current_id(out)
    except ArtifactError:
        current = None
    return sorted(ids_of(out), key=lambda each: (each == current, each), reverse=True)


def _is_same(found: Generation, fingerprints: Fingerprints) -> bool:
    made_of = found.manifest.fingerprints
    if made_of.get("artifact") != fingerprints.artifact:
        return False
    has_learned = FUSION_FILE in found or RELEVANCE_FILE in found  # from answers, which retrieval settings decide
    return not has_learned or made_of.get("fusion") == fingerprints.fusion


def _renewed(out: Path, found: Generation, settings: BuildSettings, keep: int) -> BuildReport:
    """Make a generation current with these settings, which is nothing to do if it is."""
    told, now = found.manifest, found.id
    note = "already built from the same input and settings"
    wanted = json.loads(json.dumps(asdict(settings)))
    is_current = _newest_first(out)[0] == now and (out / CURRENT).is_file()
    if told.settings != wanted or not is_current or (out / WORK).exists():
        with build_lock(out):
            if told.settings != wanted:
                about = About(
                    told.num_ads, told.ads, told.text_rules, told.fingerprints, wanted, told.facts, told.notes, told.seq
                )
                with Draft(out, about) as draft:
                    for name, part in told.files.items():
                        draft.copy(name, found.path(name), rows=part.rows, of_ads=part.ads is not None)
                    found.check_unchanged()
                    now = draft.publish()
            elif not is_current:
                roll_back(out, now)
                note += f"; generation {now} is the current one again"
            tidy(out, keep)
    return BuildReport(out, dict(told.facts), (*told.notes, note), now)
