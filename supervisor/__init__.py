"""Orlop's supervisor: the package that runs Linux containers.

Import nothing here: the zygote, every shim and every container's init load
this package, and each import costs memory in all of them.
"""

__version__ = "0.1.0"
DISTRIBUTION = "orlop"
