"""The policy engine: rules and requests in, decisions and their evidence out. No I/O.

`deciding.decide` is a pure function of a planned target, the request and where regions lie. Each
kind of demand has one small function (`deciders.py`), and the hardware profile is held to what is
asked of it (`hardware.py`). `refusing.refuse` raises all violations at once; `report` writes them
down. It gives no legal advice.
"""
