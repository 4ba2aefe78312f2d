"""Generations of an engine on disk: immutable directories of which one is current.

    ENGINE/
      intently.lock              says that the directory is ours; locked by the build that runs
      CURRENT                    one line: the id of the generation that is loaded
      generations/<id>/          manifest.json and the files it lists; never changed once it has this name
      generations/<id>.partial/  being written, or left by a build that died
      .build/                    the work of a build that runs or was interrupted

`Draft` writes and publishes a generation, `open_generation` checks one and pins it, `roll_back`, `prune` and
`list_generations` manage them.
"""

from intently.generation.draft import About, Draft
from intently.generation.layout import claim, current_id
from intently.generation.lock import build_lock
from intently.generation.manage import KEEP, Listed, list_generations, prune, roll_back, seq_of_all
from intently.generation.manifest import FORMAT, MANIFEST, Manifest, Part, digest_of_ids
from intently.generation.opened import Generation, open_generation

__all__ = [
    "FORMAT",
    "KEEP",
    "MANIFEST",
    "About",
    "Draft",
    "Generation",
    "Listed",
    "Manifest",
    "Part",
    "build_lock",
    "claim",
    "current_id",
    "digest_of_ids",
    "list_generations",
    "open_generation",
    "prune",
    "roll_back",
    "seq_of_all",
]
