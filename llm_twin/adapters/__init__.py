"""One file per outside system; no other package imports an SDK. `wiring.py` chooses among them."""

import sys

# `import openvino` reports its use to an analytics service unless this package of its cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
