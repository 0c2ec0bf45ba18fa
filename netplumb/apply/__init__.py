"""Effects, on trio: netlink sockets, namespaces, the firewall, the port proxy, the DNS server."""
