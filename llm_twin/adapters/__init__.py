"""One file per outside system; no other package imports an SDK. `wiring.py` chooses among them."""
