"""The container network, planned as values, applied over netlink. Imports nothing of supervisor."""
