"""Renders the manifests of a target from Jinja2 templates and typed values.

Templates hold loops and ifs and nothing else; every value is decided in `context.py`, from the
declared target and never from the machine that renders.
"""
