"""DNS as the server at 127.0.0.11 needs it: RFC 1035, RFC 6891 (EDNS), RFC 2308 (negative answers).

message.py   queries and answers as bytes
zones.py     the containers' names
cache.py     what the host's resolvers said, for as long as they allow
"""
