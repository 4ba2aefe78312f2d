"""What can go wrong, as one tree.

    IntentlyError                  catch this to catch everything Intently raises on purpose
    ├── InputError                 what the user brought is wrong: names the file, line and field, and the cure
    ├── SettingsError              a setting is unknown, of the wrong type, or out of range
    ├── ArtifactError              an artifact is torn, altered, incomplete, or of another version
    ├── ServiceError               a service refused a request or cannot be reached: status, code, field, cure
    ├── LogError                   the log of changes cannot be read or written: says why, and the cure
    │   ├── LogBusyError           another process writes into it
    │   ├── LogFullError           the disk has no room for it
    │   ├── LogRewoundError        a backup was put in its place; the engine has to be loaded again
    │   └── ReplacedError          this engine gave way to another generation, which takes the changes now
    ├── BehindError                an answer was to show a change that has not come here yet
    └── MissingDependencyError     an optional dependency is needed; the message says how to install it

Messages are one line, meant to be read by a person: *place: what is wrong; what to do about it*.
"""


class IntentlyError(Exception):
    """Base of every error that Intently raises on purpose."""


class InputError(IntentlyError):
    """Say that a file, row, query or other input is wrong, where, and how to cure it."""

    def __init__(self, problem: str, *, cure: str = "", path: object = None, line: int | None = None, field: str = ""):
        place = "" if path is None else str(path)
        if line is not None:
            place += f":{line}"
        if field:
            place += f" field '{field}'" if place else f"field '{field}'"
        self.problem, self.cure, self.path, self.line, self.field = problem, cure, path, line, field
        super().__init__((f"{place}: " if place else "") + problem + (f"; {cure}" if cure else ""))


class SettingsError(IntentlyError):
    """Say which setting is wrong and which values it takes."""


class ArtifactError(IntentlyError):
    """Say which file of an artifact cannot be trusted, and why."""


class ServiceError(IntentlyError):
    """Say what a service refused and why, or that it cannot be reached (then `status` is 0)."""

    def __init__(
        self, problem: str, *, cure: str = "", status: int = 0, code: str = "", field: str = "", request_id: str = ""
    ):
        self.problem, self.cure, self.status, self.code = problem, cure, status, code
        self.field, self.request_id = field, request_id
        place = f"field '{field}': " if field else ""
        super().__init__(place + problem + (f"; {cure}" if cure else ""))


class LogError(IntentlyError):
    """Say why the log of changes cannot be read or written, and the cure."""

    def __init__(self, problem: str, *, cure: str = "", path: object = None):
        self.problem, self.cure, self.path = problem, cure, path
        super().__init__((f"{path}: " if path is not None else "") + problem + (f"; {cure}" if cure else ""))


class LogBusyError(LogError):
    """Say which other process writes into the log of changes."""


class LogFullError(LogError):
    """Say how many bytes the disk of the log lacks. Deletes and pauses are taken all the same."""


class LogRewoundError(LogError):
    """Say that a log was restored, so that the changes shown may not be in it any more."""


class ReplacedError(LogError):
    """Say that an engine takes no more changes, because another generation has replaced it."""


class BehindError(IntentlyError):
    """Say that change `min_seq` has not come here in time; `seq` is the newest that has."""

    def __init__(self, min_seq: int, seq: int):
        self.min_seq, self.seq = min_seq, seq
        super().__init__(f"change {min_seq} is not here yet, the newest is {seq}; ask again, or without min_seq")


class MissingDependencyError(IntentlyError):
    """Say which optional dependency is missing and how to install it."""


def install_hint(extra: str) -> str:
    """Return how to install an extra; right for a wheel and for a checkout, as pip finds the package in place."""
    return f"run: pip install 'intently[{extra}]'"
