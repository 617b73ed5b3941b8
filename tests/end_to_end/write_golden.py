"""Write the golden list of outputs anew: python write_golden.py OUT_DIR. Read the difference before it is kept."""

import sys
from pathlib import Path

from test_simulated import GOLDEN, output_files

GOLDEN.write_text("\n".join(output_files(Path(sys.argv[1]))) + "\n")
