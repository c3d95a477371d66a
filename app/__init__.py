"""Tessera: ticketing that a product plugs in."""

__version__ = "0.2.0"
