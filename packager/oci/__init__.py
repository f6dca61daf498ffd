"""Images without a daemon: layers, images, the OCI layout, registries and the Docker engine.

`layer` writes what `assemble` described, `image` ties layers together, `layout` puts images and
their signatures into one folder, `registry` pushes that folder, `docker_engine` loads and starts an
image of it. Formats: OCI image specification 1.1, OCI distribution specification 1.1.
"""
