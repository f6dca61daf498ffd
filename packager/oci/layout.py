"""The OCI image layout of a release: `LayoutWriter` writes the folder, `read_layout` reads it."""

from packager.oci.layout_reading import Layout, read_layout
from packager.oci.layout_writing import LayoutWriter

__all__ = ["Layout", "LayoutWriter", "read_layout"]
