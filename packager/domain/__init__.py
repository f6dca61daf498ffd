"""The values that the product talks about: frozen dataclasses without any input or output.

Engines take these values and return new ones; nothing is filled in later. Names are the field's:
Descriptor and MediaType from the OCI image specification, ExecutionProvider from ONNX Runtime,
Statement and Predicate from in-toto.
"""
