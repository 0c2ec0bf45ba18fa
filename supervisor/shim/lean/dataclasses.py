"""In the zygote: dataclasses with what their decorator is asked for here.

A frozen one is hashable, but not guarded: the type checker has seen that nothing assigns to it.
"""


class _Missing:
    pass


MISSING = _Missing()


class Field:
    """`name`, `default`, `default_factory`."""

    __slots__ = ("default", "default_factory", "name")

    def __init__(self, default, default_factory):
        self.name = ""
        self.default = default
        self.default_factory = default_factory


def field(*, default=MISSING, default_factory=MISSING):
    """A field with more to say than a default."""
    return Field(default, default_factory)


def fields(cls):
    """The fields in order."""
    return tuple(cls.__dataclass_fields__.values())


def is_dataclass(value):
    """Of a class or an instance."""
    return hasattr(value, "__dataclass_fields__")


def replace(value, **changes):
    """A copy with changes."""
    names = value.__dataclass_fields__
    return type(value)(**{**{name: getattr(value, name) for name in names}, **changes})


def dataclass(cls=None, **options):
    """The decorator, with and without options."""
    if cls is None:
        return lambda decorated: _make(decorated, **options)
    return _make(cls)


def _make(cls, frozen=False, slots=False, kw_only=False):
    known = {}
    for base in cls.__mro__[:0:-1]:
        known |= base.__dict__.get("__dataclass_fields__", {})
    own = {
        name: _field(name, cls.__dict__.get(name, MISSING))
        for name, hint in cls.__dict__.get("__annotations__", {}).items()
        if not str(hint).startswith("ClassVar")
    }
    known |= own
    space = dict(cls.__dict__)
    for name in ("__dict__", "__weakref__", *(n for n in own if slots or _bare(own[n]))):
        space.pop(name, None)
    space["__dataclass_fields__"] = known
    space["__match_args__"] = () if kw_only else tuple(known)
    if slots:
        space["__slots__"] = tuple(own)
    space["__init__"] = _initializer(cls, known, kw_only)
    space["__eq__"] = _equal
    space["__hash__"] = _hash if frozen else None
    space["__repr__"] = _repr
    return type(cls)(cls.__name__, cls.__bases__, space)


def _field(name, default):
    made = default if isinstance(default, Field) else Field(default, MISSING)
    made.name = name
    return made


def _bare(one):
    return one.default is MISSING


def _initializer(cls, known, kw_only):
    names = {"_missing": MISSING}
    parameters = ["self"] + ["*"] * (kw_only and bool(known))
    lines = []
    for name, one in known.items():
        value = name
        if one.default_factory is not MISSING:
            names[f"_make_{name}"] = one.default_factory
            parameters.append(f"{name}=_missing")
            value = f"_make_{name}() if {name} is _missing else {name}"
        elif one.default is not MISSING:
            names[f"_default_{name}"] = one.default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        lines.append(f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n ".join(lines or ["pass"])
    exec(f"def __init__({', '.join(parameters)}):\n {body}", names)
    made = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _values(value):
    return tuple([getattr(value, name) for name in value.__dataclass_fields__])


def _equal(self, other):
    if type(self) is not type(other):
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self):
    return hash(_values(self))


def _repr(self):
    pairs = zip(self.__dataclass_fields__, _values(self), strict=True)
    return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in pairs)})"
