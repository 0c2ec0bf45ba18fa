"""In the zygote: the C module, whose constants are plain numbers."""

from _signal import *
