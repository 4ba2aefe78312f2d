"""Products as the interfaces of Shopify answer them: whether they are sold, and for how much, their variants say."""

from collections.abc import Mapping, Sequence
from typing import Any


def is_product(record: Mapping[str, Any]) -> bool:
    """Return whether a record of JSON is a product of Shopify, of the shop's own interface or the public one."""
    variants = record.get("variants")
    return (
        isinstance(variants, list)
        and bool(variants)
        and all(isinstance(each, dict) for each in variants)
        and {"title", "handle", "vendor"} <= record.keys()
    )


def with_variants(record: dict[str, Any]) -> dict[str, Any]:
    """Return a product with the price that all its variants have, as not available if none of them is.

    One whose `published_at` is null is not published.
    """
    variants: Sequence[dict[str, Any]] = record["variants"]
    found: dict[str, Any] = {}
    prices = {str(each.get("price")) for each in variants}
    if len(prices) == 1 and variants[0].get("price") is not None:
        found["price"] = variants[0]["price"]
    if all(_is_sold_out(each) for each in variants):
        found["available"] = False
    if "published_at" in record and record["published_at"] is None:
        found["published"] = False
    return {**found, **record}


def _is_sold_out(variant: Mapping[str, Any]) -> bool:
    if isinstance(variant.get("available"), bool):
        return not variant["available"]
    quantity = variant.get("inventory_quantity")
    is_tracked = variant.get("inventory_management") is not None and variant.get("inventory_policy") != "continue"
    return is_tracked and isinstance(quantity, int) and quantity <= 0
