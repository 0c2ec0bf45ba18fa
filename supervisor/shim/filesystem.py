"""A new file system, on a mount that is not anywhere yet."""

import os

from supervisor.kernel import mounts
from supervisor.spec.mounts import MountOptions


def new_filesystem(fstype: str, options: MountOptions, pid_namespace: int = -1) -> int:
    """A detached mount of a new instance of `fstype` with its data options and flags.

    A proc is of the caller's pid namespace, or of another one by its descriptor.
    """
    context = mounts.fsopen(fstype)
    try:
        mounts.fsconfig_string(context, "source", fstype)
        if pid_namespace >= 0:
            mounts.fsconfig_fd(context, "pidns", pid_namespace)
        for key, value in options.data:
            if value is None:
                mounts.fsconfig_flag(context, key)
            else:
                mounts.fsconfig_string(context, key, value)
        mounts.fsconfig_create(context)
        return mounts.fsmount(context, options.attr_set)
    finally:
        os.close(context)
