"""Starts a verified release on this machine without a container engine, and talks to it.

`extract` takes the runtime, the model and the configuration out of an image's layers, `process`
runs them with this Python, `client` speaks the Open Inference Protocol to whatever is serving.
"""
