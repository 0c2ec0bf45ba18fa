"""Small stand-ins for modules of the standard library: the zygote finds them first.

The real ones bring what a shim never uses: `dataclasses` brings inspect, ast, dis and
tokenize; `json` and `typing` bring re; `signal` and `socket` bring enum and turn each
constant into a member. Loaded, they are half of the zygote's memory, which is copied as page
tables at each fork, and lie between the objects that a shim touches, each a page of its own.

A stand-in has what the folders errors, kernel, shim, spec and wire use of its original and
behaves alike in that; tests/unit/shim/test_lean.py holds them against the originals. This
package is never imported by its name: `supervisor.engine.zygote` puts its folder on the path.
"""
