"""Docks, layers and shortcuts."""
