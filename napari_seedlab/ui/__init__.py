"""Docks, layers and keys: reads a widget, calls one session method, draws a difference."""
