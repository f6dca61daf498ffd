"""Decides what goes into an image: from a lock to layers, without a base image or a daemon.

    resolve    hardware profiles → Lock        asks the Debian mirror and pip's resolver
    fetch      LockedEnvironment → files       from the cache, else from mirror and index
    layers     files, runtime, model → LayerContent, told but not yet written

Nothing is ever run on the way: Debian packages are unpacked without their maintainer scripts and
wheels without an installer, so any architecture can be assembled on any other.
"""
