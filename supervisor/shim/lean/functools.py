"""In the zygote: caches of functions, and what is done to functions."""

from _functools import _lru_cache_wrapper, partial, reduce


def lru_cache(maxsize=128, typed=False):
    """Remember results; with and without arguments."""
    if callable(maxsize):
        return wraps(maxsize)(_lru_cache_wrapper(maxsize, 128, typed, _information))
    return lambda function: wraps(function)(
        _lru_cache_wrapper(function, maxsize, typed, _information)
    )


def cache(function):
    """Remember all results."""
    return lru_cache(None)(function)


def _information(*values):
    return values


def wraps(function):
    """Give a wrapper the names of what it wraps."""

    def named(wrapper):
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(wrapper, name, getattr(function, name))
        wrapper.__wrapped__ = function
        return wrapper

    return named
