"""In the zygote: a traceback without the source's lines."""

import sys


def format_exc():
    """The exception that is being handled."""
    kind, value, frame = sys.exc_info()
    lines = ["Traceback (most recent call last):"]
    while frame is not None:
        code = frame.tb_frame.f_code
        lines.append(f'  File "{code.co_filename}", line {frame.tb_lineno}, in {code.co_name}')
        frame = frame.tb_next
    return "\n".join([*lines, f"{kind.__name__}: {value}", ""])
