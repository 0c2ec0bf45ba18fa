"""The processes below the supervisor: zygote, shim, container init, exec stage.

    SUPERVISOR ──spawn + socket──► ZYGOTE ──fork──► SHIM ──vfork───► INIT ──execve──► PID 1
         ▲                                           │ │               │
         └──────── shim protocol (SEQPACKET) ────────┘ └─ sync socket ─┘

Single-threaded, standard library only, everything imported before the zygote's first fork:
a module loaded later costs its memory in every container, and inside a container an import
would open files of the image.
"""
