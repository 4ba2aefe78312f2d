"""The ways a query can reach an ad, a file each. A new one implements `ChannelSearch` and joins `ALL_CHANNELS`."""

from intently.engine.channels.base import ChannelHits, ChannelSearch, Hits
from intently.engine.channels.dense import DenseChannel
from intently.engine.channels.intention import IntentionChannel
from intently.engine.channels.keyword import KeywordChannel
from intently.engine.channels.lexical import LexicalChannel

ALL_CHANNELS: tuple[ChannelSearch, ...] = (IntentionChannel(), DenseChannel(), LexicalChannel())
KEYWORD_CHANNEL: ChannelSearch = KeywordChannel()  # which joins them where ads have match types

__all__ = [
    "ALL_CHANNELS",
    "KEYWORD_CHANNEL",
    "ChannelHits",
    "ChannelSearch",
    "DenseChannel",
    "Hits",
    "IntentionChannel",
    "KeywordChannel",
    "LexicalChannel",
]
