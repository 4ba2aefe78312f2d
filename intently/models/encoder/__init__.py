"""The BRIDGE encoder: what embeds queries and, with their augmentation, ads."""
