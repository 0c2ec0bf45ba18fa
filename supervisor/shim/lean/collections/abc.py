"""In the zygote: as in the original."""

from _collections_abc import *  # noqa: F403
from _collections_abc import Callable  # noqa: F401
