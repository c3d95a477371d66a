"""Tessera: a multi-tenant ticketing service."""

__version__ = "0.2.0"
