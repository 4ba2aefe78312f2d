"""BRIDGE with every part on, plain fine-tuning, and BRIDGE without one part each: the settings that are compared."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from intently.build.settings import BridgeSettings
from intently.build.training.distillation import DistillationSettings
from intently.build.training.sampling import SamplingSettings
from intently.build.training.schedule import Order
from intently.models.encoder.settings import Gate


def names(listed: str) -> list[str]:
    """Return the names in a list with commas between them."""
    return [name.strip() for name in listed.split(",") if name.strip()]


def everything(settings: BridgeSettings) -> BridgeSettings:
    """Return the settings with every part of BRIDGE on, whatever measured best here or elsewhere."""
    training = settings.training
    taught, default = training.distillation, DistillationSettings()
    return replace(
        settings,
        generated_queries=True,
        keywords=True,
        intentions=True,
        reads_pages=True,
        encoder=settings.encoder.with_all_parts(),
        training=replace(
            training,
            schedule=replace(training.schedule, order=Order.INTERLEAVED),
            negatives=training.negatives.mining(),
            sampling=training.sampling.click_aware(),
            distillation=replace(
                taught,
                weight=taught.weight or default.weight,
                cosine_weight=taught.cosine_weight or default.cosine_weight,
            ),
        ),
    )


def plain(settings: BridgeSettings) -> BridgeSettings:
    """Return plain fine-tuning on the clicks: what BRIDGE has to beat."""
    return replace(
        settings,
        generated_queries=False,
        keywords=False,
        intentions=False,
        reads_pages=False,
        encoder=settings.encoder.without_parts(),
        training=settings.training.plain(),
    )


def ordered(settings: BridgeSettings, order: Order) -> BridgeSettings:
    """Return settings whose sources take turns in this order."""
    training = settings.training
    return replace(settings, training=replace(training, schedule=replace(training.schedule, order=order)))


def trained_with(settings: BridgeSettings, **changes: Any) -> BridgeSettings:
    """Return settings with another training."""
    return replace(settings, training=replace(settings.training, **changes))


def _easy(settings: BridgeSettings) -> BridgeSettings:
    negatives = replace(settings.training.negatives, mid_share=0.0, hard_share=0.0)
    return trained_with(settings, negatives=negatives)


def _taught(settings: BridgeSettings, **changes: Any) -> BridgeSettings:
    return trained_with(settings, distillation=replace(settings.training.distillation, **changes))


# What is left out of BRIDGE, and the settings without it.
VARIANTS: Mapping[str, Callable[[BridgeSettings], BridgeSettings]] = {
    "interleaving": lambda settings: ordered(settings, Order.CONCATENATED),
    "generated queries": lambda settings: replace(settings, generated_queries=False),
    "keywords": lambda settings: replace(settings, keywords=False),
    "intentions": lambda settings: replace(settings, intentions=False),
    "gate": lambda settings: replace(settings, encoder=replace(settings.encoder, gate=Gate.CONCAT)),
    "cross-attention": lambda settings: replace(settings, encoder=replace(settings.encoder, cross_attention=False)),
    "layer fusion": lambda settings: replace(settings, encoder=replace(settings.encoder, layer_fusion=False)),
    "late interaction": lambda settings: replace(settings, encoder=replace(settings.encoder, token_dimension=0)),
    "last layers first": lambda settings: replace(  # the paper favours the middle ones when training starts
        settings,
        encoder=replace(settings.encoder, favoured_depth_low=0.5, favoured_depth_high=0.67, layer_bias=4.0),
    ),
    "hierarchical negatives": _easy,
    "click-aware sampling": lambda settings: trained_with(settings, sampling=SamplingSettings()),
    "distillation": lambda settings: _taught(settings, weight=0.0),
    "guide": lambda settings: _taught(settings, cosine_weight=0.0),
    "landing pages": lambda settings: replace(settings, reads_pages=False),
    "OCR cleaning": lambda settings: settings,  # the texts differ
}


def parts_to_leave_out(variants: str, *, queries: bool, pages: bool, spans: bool) -> list[str]:
    """Return those of the named parts (all, if none is) that are there to be left out.

    The flags say whether queries were generated, whether ads have landing pages, and whether OCR read any of them.
    """
    there = {"generated queries": queries, "landing pages": pages, "OCR cleaning": spans}
    return [part for part in names(variants) or VARIANTS if there.get(part, True)]
