"""The controller: what every button, key and command calls."""
