"""In the zygote: as in the original."""

from _collections_abc import *
from _collections_abc import Callable
