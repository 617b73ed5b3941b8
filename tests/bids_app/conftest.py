"""Makes `skeletons`, the builder of small datasets, importable for the tests of this folder."""

import sys
from pathlib import Path

# Appended, not put first: this folder is called bids_app too, and must not hide the package.
sys.path.append(str(Path(__file__).parent))
