"""In the zygote: no enumeration is used there; the decoder of specs knows them by this base."""


class Enum:
    """The base of none."""
