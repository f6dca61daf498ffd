"""The optimizer for text models: the same verbs, other yardsticks.

Candidates are judged by the words that they would say and by how surprised they are at the user's
own texts, and timed as they will serve: by the runtime's own engine, in answers at a time.
"""
