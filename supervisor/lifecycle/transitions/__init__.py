"""The functions behind the transition table: (state, fact, now) → (state, effects).

`now` is seconds of a clock that does not jump. Which function applies in which phase is
`machine.TABLE`'s business; a function assumes the phases it is listed for.
"""
