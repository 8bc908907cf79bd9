"""What goes on inside the U-Net: extensions that look and change no bit of the picture."""

from mezzotint import Extension

from .attention_maps import AttentionMaps
from .block_norms import BlockNorms
from .feature_maps import FeatureMaps
from .trace import Trace

EXTENSIONS: tuple[type[Extension], ...] = (AttentionMaps, BlockNorms, FeatureMaps, Trace)
