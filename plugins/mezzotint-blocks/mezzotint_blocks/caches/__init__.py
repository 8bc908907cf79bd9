"""Computing less: what does not change is computed once, what changes little is computed seldom."""

from mezzotint import Extension

from .deepcache import DeepCache
from .easycache import EasyCache
from .first_block import FirstBlockCache
from .text_kv import TextKV
from .tgate import TGate
from .token_merging import TokenMerging

EXTENSIONS: tuple[type[Extension], ...] = (
    TextKV,
    DeepCache,
    FirstBlockCache,
    EasyCache,
    TokenMerging,
    TGate,
)
