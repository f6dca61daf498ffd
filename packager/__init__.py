"""packager: from a model, a jurisdiction and a hardware profile to a signed, lawful deployment."""

__version__ = "0.1.0"
