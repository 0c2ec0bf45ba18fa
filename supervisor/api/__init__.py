"""Trio: the HTTP server on a unix socket and its routes."""
