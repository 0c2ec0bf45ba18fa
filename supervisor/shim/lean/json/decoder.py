"""In the zygote: where the C module looks for its error."""


class JSONDecodeError(ValueError):
    """`msg` about `doc` at `pos`."""

    def __init__(self, msg, doc, pos):
        super().__init__(f"{msg}: char {pos}")
        self.msg, self.doc, self.pos = msg, doc, pos
