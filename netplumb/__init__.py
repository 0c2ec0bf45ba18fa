"""netplumb: the container network, planned as values and applied over netlink. Imports nothing of supervisor."""
