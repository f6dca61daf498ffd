"""The catalogue: jurisdictions, hardware and where cloud regions lie, read from `targets/`.

One YAML file is one profile. A user's own folder (`--targets DIR`) has the same three folders and
adds to the built-in ones; its profiles may extend them. Files are read when they are asked for.
"""

from packager.catalogue.catalogue import Catalogue, load_catalogue

__all__ = ["Catalogue", "load_catalogue"]
