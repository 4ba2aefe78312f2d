"""What a build's settings ask of models and machine, checked before anything long starts."""

from intently.build.settings import BackboneKind, BridgeSettings, BuildSettings
from intently.errors import SettingsError
from intently.models.device import require_device
from intently.models.encoder.hugging_face import positions_of
from intently.models.encoder.pages import MAX_SENTENCE_TOKENS
from intently.models.pretrained import Checkpoint, open_checkpoint
from intently.models.student import check_tokens


def check_devices(settings: BuildSettings) -> None:
    """Raise `SettingsError` for a device that this machine lacks."""
    require_device(settings.device, "device")
    for table, model in (("teacher.model", settings.teacher.model), ("ocr_model", settings.ocr_model)):
        if model.name:
            require_device(model.device, f"{table}.device")


def check_models(settings: BuildSettings) -> None:
    """Raise `SettingsError` for texts longer than a model reads, and for an encoder's parts that do not fit it."""
    if not settings.checkpoint:
        return
    student = open_checkpoint(settings.checkpoint)
    if settings.num_layers is not None and settings.num_layers > student.config.num_hidden_layers:
        raise SettingsError(
            f"'num_layers' is {settings.num_layers}; it takes a whole number ≥ 1 and ≤ "
            f"{student.config.num_hidden_layers}, as the model of 'checkpoint' has so many"
        )
    check_student_tokens(settings, student.positions)
    if settings.bridge.enabled:
        _check_encoder(settings.bridge, settings.checkpoint, student)
        if settings.bridge.reads_pages and student.positions < MAX_SENTENCE_TOKENS:
            raise SettingsError(
                f"'bridge.reads_pages' needs a student of {MAX_SENTENCE_TOKENS} positions; that of 'checkpoint' has "
                f"{student.positions}"
            )


def check_student_tokens(settings: BuildSettings, positions: int, longest: int = 0) -> None:
    """Raise `SettingsError` for texts that leave a student of so many positions none for the `longest` intention."""
    for table, names in (
        ("training", ("max_query_tokens", "max_ad_tokens")),
        ("postings", ("max_ad_tokens",)),
        ("retrieval", ("max_query_tokens",)),
    ):
        check_tokens(getattr(settings, table), *names, positions=positions, longest=longest, table=f"{table}.")


def _check_encoder(bridge: BridgeSettings, students: str, student: Checkpoint) -> None:
    checkpoint, encoder = bridge.checkpoint or students, bridge.encoder
    if bridge.kind is BackboneKind.HUGGING_FACE:
        positions, hidden_size = positions_of(checkpoint)
    else:
        start = open_checkpoint(bridge.checkpoint) if bridge.checkpoint else student
        positions, hidden_size = start.positions, start.config.hidden_size
    check_tokens(encoder, "max_query_tokens", "max_ad_tokens", positions=positions, table="bridge.encoder.")
    if encoder.cross_attention and hidden_size % encoder.num_heads:
        raise SettingsError(
            f"'bridge.encoder.num_heads' is {encoder.num_heads}; it takes a divisor of the encoder's size {hidden_size}"
        )
