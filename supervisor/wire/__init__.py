"""Pure: byte formats between processes: multiplexed streams, log records, shim protocol, keys."""
