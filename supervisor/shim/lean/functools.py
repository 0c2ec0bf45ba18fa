"""In the zygote: caches of functions."""

from _functools import _lru_cache_wrapper, partial, reduce

_Information = tuple


def lru_cache(maxsize=128, typed=False):
    """Remember results; with and without arguments."""
    if callable(maxsize):
        return _wrapped(maxsize, 128)
    return lambda function: _wrapped(function, maxsize, typed)


def cache(function):
    """Remember all results."""
    return _wrapped(function, None)


def _wrapped(function, size, typed=False):
    made = _lru_cache_wrapper(function, size, typed, _information)
    made.__doc__ = function.__doc__
    made.__name__ = function.__name__
    made.__qualname__ = function.__qualname__
    made.__module__ = function.__module__
    made.__wrapped__ = function
    return made


def _information(*values):
    return values
