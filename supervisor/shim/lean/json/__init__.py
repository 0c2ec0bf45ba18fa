"""In the zygote: JSON by the C module's scanner and encoder."""

from _json import encode_basestring_ascii, make_encoder, make_scanner

from json.decoder import JSONDecodeError


class _Context:
    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = {
        "-Infinity": float("-inf"),
        "Infinity": float("inf"),
        "NaN": float("nan"),
    }.__getitem__
    memo = {}


_scan = make_scanner(_Context())
_BOM = b"\xef\xbb\xbf"
_SPACE = " \t\n\r"


def loads(text):
    """The value of a document, str or bytes in UTF-8."""
    if not isinstance(text, str):
        text = str(text.removeprefix(_BOM), "utf-8", "surrogatepass")
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise JSONDecodeError("Expecting value", text, stop.value) from None
    if text[end:].strip(_SPACE):
        raise JSONDecodeError("Extra data", text, end)
    return value


def _refuse(value):
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def dumps(value, separators=(", ", ": ")):
    """One line of ASCII."""
    between, after_key = separators
    encode = make_encoder(
        {}, _refuse, encode_basestring_ascii, None, after_key, between, False, False, True
    )
    return "".join(encode(value, 0))
