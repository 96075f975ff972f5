"""The project folder: journal, arrays, models."""
