"""Exports of shops: Shopify, where the variants of a product follow it in rows without a title; WooCommerce.

A product of Shopify is one ad; its variants are kept in the payload (`variants`), and it is out of stock when all of
those are whose stock Shopify tracks. In WooCommerce each row has a name of its own, and `Parent` groups variations.
"""

import re
from collections.abc import Sequence
from typing import Any

from intently.catalog.layouts.layout import Reshaped, Row, first_of, sentences

_QUANTITY = ("variant_inventory_qty", "inventory_quantity")
# Columns of a product that are read, or belong to its variants; exports of Shopify from 2025 on have the later names.
_OF_VARIANTS = (
    "handle", "url_handle", "body_html", "id", "sku", "barcode", "price", "inventory_tracker", *_QUANTITY,
    "continue_selling_when_out_of_stock", "weight_value_grams", "weight_unit_for_display", "requires_shipping",
)  # fmt: skip


def reshape_shopify(lines: Sequence[int], rows: Sequence[Row]) -> Reshaped:
    """Return the products of a Shopify export."""
    done = Reshaped()
    products: dict[str, tuple[int, Row, list[Row]]] = {}
    for line, row in zip(lines, rows, strict=True):
        handle = first_of(row, "handle", "url_handle", "id", "ad_id")
        if handle in products:
            products[handle][2].append(row)
            done.others["rows of further variants or images, joined to their products"] += 1
        else:
            products[handle] = (line, row, [row])
    for handle, (line, row, all_rows) in products.items():
        variants = [variant for each in all_rows if (variant := _variant(each))]
        record: dict[str, Any] = {
            name: cell for name, cell in row.items()
            if cell.strip() and not name.startswith(("variant_", "option"))
            and name not in _OF_VARIANTS
        }  # fmt: skip
        prices = [cell for each in all_rows if (cell := first_of(each, "variant_price", "price"))]
        record |= {
            "ad_id": handle,
            "description": first_of(row, "body_html", "body", "description"),
            "category": first_of(row, "type", "product_category", "product_type", "category"),
            "price": prices[0] if len(set(prices)) == 1 else "",
            "availability": "out of stock" if _is_sold_out(all_rows) else "",
            "payload": {"variants": variants} if len(variants) > 1 else {},
        }
        done.add(line, record)
    return done


def _variant(row: Row) -> dict[str, str]:
    """Return what tells a variant from the others."""
    found = {"sku": first_of(row, "variant_sku", "sku"), "price": first_of(row, "variant_price", "price")}
    options = [first_of(row, f"option{number}_value", f"option_{number}_value") for number in (1, 2, 3)]
    found |= {"options": " / ".join(filter(None, options)), "quantity": first_of(row, *_QUANTITY)}
    return {name: value for name, value in found.items() if value} if found["sku"] or any(options) else {}


def _is_sold_out(rows: Sequence[Row]) -> bool:
    quantities = []
    for row in rows:
        quantity = first_of(row, *_QUANTITY)
        is_tracked = first_of(row, "variant_inventory_tracker", "inventory_tracker") != ""
        if first_of(row, "variant_sku", "sku", "option1_value", "option_1_value") == "" and not quantity:
            continue  # a row of an image
        policy = first_of(row, "variant_inventory_policy", "continue_selling_when_out_of_stock").lower()
        sells_on = policy in ("continue", "true")
        try:
            quantities.append(float(quantity) if is_tracked and not sells_on else 1.0)
        except ValueError:
            quantities.append(1.0)
    return bool(quantities) and max(quantities) <= 0


def reshape_woocommerce(lines: Sequence[int], rows: Sequence[Row]) -> Reshaped:
    """Return the products of a WooCommerce export."""
    done = Reshaped()
    id_of_sku = {row.get("sku", "").strip(): row.get("id", "").strip() for row in rows if row.get("sku", "").strip()}
    for line, row in zip(lines, rows, strict=True):
        parent = row.get("parent", "").strip()
        parent = parent[3:] if parent.startswith("id:") else id_of_sku.get(parent, parent)
        kind = row.get("type", "").lower()
        record: dict[str, Any] = {name: cell for name, cell in row.items() if cell.strip() and name != "parent"}
        short, long = first_of(row, "short_description"), first_of(row, "description")
        record |= {
            "ad_id": first_of(row, "id", "sku"),
            "title": first_of(row, "name", "title"),
            "description": long if not short or short in long else sentences(short, long),
            "category": re.split(r",\s", first_of(row, "categories"))[0],
            "price": first_of(row, "sale_price", "regular_price"),
            "item_group_id": parent or (first_of(row, "id") if "variable" in kind else ""),
        }
        for name in ("name", "categories", "short_description"):
            record.pop(name, None)
        if first_of(row, "stock") and (first_of(row, "backorders_allowed") or "0").lower() not in ("0", "no"):
            record.pop("stock", None)  # it is sold on when there is none
        done.add(line, record)
    return done
