"""Text generation: continuous batching, speculation and an OpenAI-compatible interface.

A worker process (`worker`) owns the model and its key-value cache; the server only speaks HTTP and
text. They talk over a socket pair in lines of JSON (`channel`). The engine (`engine`) batches when
it is busy and speculates when it is idle.
"""
