"""`orlop apply`: one file says what is to run on a host, and the host is made to be so.

    reading     nodes (YAML with places) → reader (what a value may be) → project (what is wanted)
    planning    wanted + observed → steps, without asking anybody anything
    converging  the steps, by requests of Docker's API

Only the last of them, and `observe`, talk to a daemon.
"""
