"""Mends five lines of Olive 0.13.0, without which `olive run` refuses a metric of one's own.

`python olive_mend.py` with the Python of Olive's own environment. Its configuration is turned into
JSON before anything runs, and there three places take no None (the backend and the settings of a
custom metric, the type of a part of a data set) and what a metric's own class adds to its base is
dropped. Nothing else is touched; a line that is not as expected ends this with an error.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

MENDS = {
    "evaluator/metric.py": {
        "return metric_config.model_dump()": "return metric_config and metric_config.model_dump()",
        "return backend if isinstance(backend, str) else": (
            "return backend if backend is None or isinstance(backend, str) else"
        ),
        "import Field, field_serializer,": "import Field, SerializeAsAny, field_serializer,",
        "user_config: Optional[ConfigBase] =": (
            "user_config: Optional[SerializeAsAny[ConfigBase]] ="
        ),
    },
    "common/config_utils.py": {"value = value.lower()": "value = str(value).lower()"},
}


def main() -> int:
    root = Path(find_spec("olive").submodule_search_locations[0])
    for name, lines in MENDS.items():
        file = root / name
        text = file.read_text()
        for old, new in lines.items():
            if new not in text:
                if text.count(old) != 1:
                    sys.exit(f"{file}: expected once: {old}")
                text = text.replace(old, new)
        file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
