"""Where to serve: the cheapest lawful placement that is fast enough, and what it would survive.

Reads what people want (`demand_file`) and what can be had (`sites_file`, `service_file`); works out
what each replica carries (`capacity`) from how far (`latency`); solves (`solving`), explains what
cannot be solved (`explaining`), asks what-if (`exploring`), rehearses a bad day (`rehearsing`), and
tells it (`answering`, `report`, `routing`). What law allows comes from outside, as a value.
"""
