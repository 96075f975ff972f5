"""What the methods of oddness are called in the window, and what each one does."""

from __future__ import annotations

WORDS = {
    "fcdd": ("Pasted defects", "FCDD: learns normal seeds beside copies with made-up defects"),
    "vae": ("Autoencoder", "What an autoencoder of normal seeds cannot rebuild: a second opinion"),
    "distance": ("Feature distance", "How far a place is from all that normal seeds show: a second opinion"),
    "spectra": ("Spectra around", "Each spectrum against the usual ones around it"),
    "rx": ("Spectra overall", "Reed-Xiaoli: each spectrum against those of the whole scan"),
    "local_rx": ("Spectra near", "Local Reed-Xiaoli: each spectrum against those near by, not next to it"),
}
