"""In the zygote: named tuples, made without generated code, and queues."""

from _collections import defaultdict, deque
from operator import itemgetter


def namedtuple(name, fields):
    """A tuple whose parts have names."""
    names = tuple(fields)

    def new(cls, *values, **named):
        values += tuple(named[key] for key in names[len(values) :])
        if len(values) != len(names):
            raise TypeError(f"{name} takes {len(names)} values")
        return tuple.__new__(cls, values)

    space = {"__slots__": (), "__new__": new, "_fields": names}
    space |= {key: property(itemgetter(i)) for i, key in enumerate(names)}
    return type(name, (tuple,), space)
