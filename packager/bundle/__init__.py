"""A release as one file for the border, in parts or as a difference; read in place.

The format stands in docs/bundle.md. `composing` decides where each byte lies, from the signed
release alone; `writing` and `reading` follow it.
"""
