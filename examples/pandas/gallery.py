"""A gallery in pandas: read from Parquet, and the same nearest neighbours from it.

    lookalike export --gallery test.gallery --parquet gallery.parquet --codes codes.npy
    python gallery.py gallery.parquet codes.npy

Shows the columns and, for the first three pictures, their nearest others by cosine. Ends with an error if the codes
are not those of the NumPy file, in the same order. Needs numpy, pandas and pyarrow.
"""

import sys

import numpy as np
import pandas as pd

table = pd.read_parquet(sys.argv[1])
print(table.dtypes)

codes = np.stack(table["code"])
if not np.array_equal(codes, np.load(sys.argv[2])):
    sys.exit("the codes differ from those of the NumPy file")

unit = codes / np.linalg.norm(codes, axis=1, keepdims=True)
for row in range(min(3, len(table))):
    distances = 1 - unit @ unit[row]
    distances[row] = np.inf
    nearest = int(distances.argmin())
    print(f"{table['key'][row]}: nearest is {table['key'][nearest]}, at {distances[nearest]:.5f}")
