"""Other engines on the same weights, each a program of its own environment.

`python PEER.py MODEL_FOLDER TASK.json RESULT.json`: the task has prompts as tokens, how many tokens
to say, and how many streams; the result tokens a second, the time to the first token, memory, and
what was said to the first prompt.
"""
