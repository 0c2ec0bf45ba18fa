"""The subcommands: one function each, `(arguments, context) -> exit status`.

Loaded one at a time by `supervisor.cli.main`, so that `orlop ps` pays for `ps` only.
"""
