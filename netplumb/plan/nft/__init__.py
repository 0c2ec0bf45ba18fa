"""The firewall as nftables objects, encoded for nfnetlink: linux/netfilter/nf_tables.h."""
