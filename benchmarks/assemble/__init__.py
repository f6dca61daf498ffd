"""How small images are, how fast they are made and pushed, and what was proven of them where."""
