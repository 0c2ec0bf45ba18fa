"""In the zygote: names for annotations, which nothing evaluates but the decoder of specs."""

import sys
from collections import namedtuple
from types import GenericAlias, UnionType

TYPE_CHECKING = False


class Any:
    """Any value."""


class ClassVar:
    """An attribute of the class alone."""

    def __class_getitem__(cls, _item):
        return cls


class Union:
    """Of Union[…] and Optional[…], which are not used: X | Y is types.UnionType."""


def TypeVar(name, **_):
    """A name is all it is."""
    return name


def cast(_type, value):
    """The value."""
    return value


def NamedTuple(*_):
    """A base that `__mro_entries__` replaces."""
    raise TypeError("only to derive from")


def _entries(_bases):
    return (_Named,)


class _NamedMeta(type):
    def __new__(mcs, name, bases, space):
        if "__annotations__" not in space:
            return super().__new__(mcs, name, bases, space)
        made = namedtuple(name, space["__annotations__"])
        made.__module__ = space["__module__"]
        made.__doc__ = space.get("__doc__")
        return made


class _Named(metaclass=_NamedMeta):
    pass


NamedTuple.__mro_entries__ = _entries


def get_type_hints(cls):
    """The annotations of a class as objects."""
    names = vars(sys.modules[cls.__module__])
    return {
        key: eval(hint, names) if isinstance(hint, str) else hint
        for key, hint in cls.__annotations__.items()
    }


def get_origin(hint):
    """tuple of tuple[int, ...]; UnionType of int | None."""
    if isinstance(hint, GenericAlias):
        return hint.__origin__
    return UnionType if isinstance(hint, UnionType) else None


def get_args(hint):
    """What is between the brackets, or beside the bars."""
    return getattr(hint, "__args__", ())
