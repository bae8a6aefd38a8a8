"""Lookalike's exact answers are those of scikit-learn's NearestNeighbors, for every metric.

    lookalike index mnist:test --model model.safetensors --gallery test.gallery
    lookalike export --gallery test.gallery --codes codes.npy --payload payload.jsonl
    python neighbours.py lookalike test.gallery codes.npy payload.jsonl

The first argument is the program. Asks 100 queries for their 5 nearest with each metric; the query itself is among
them. Ends with an error if a neighbour differs, or a distance by more than 1e-4 of its size. Needs numpy and
scikit-learn.
"""

import json
import subprocess
import sys

import numpy as np
from sklearn.neighbors import NearestNeighbors

program, gallery, codes_file, payload_file = sys.argv[1:]
QUERIES, K = 100, 5

codes = np.load(codes_file).astype("float64")
payload = [json.loads(line) for line in open(payload_file)]
row_of = {point["id"]: row for row, point in enumerate(payload)}
rows = np.random.default_rng(0).choice(len(codes), QUERIES, replace=False)
queries = [f"{payload[row]['source']}#{payload[row]['key']}" for row in rows]

failed = False
for metric in ["cosine", "euclidean", "dot", "manhattan"]:
    answer = subprocess.run(
        [program, "search", *queries, "--gallery", gallery, "--metric", metric, "--exact", "--include-self", "--json", "-k", str(K)],
        check=True, capture_output=True, text=True,
    )
    if metric == "dot":
        # Not a distance of scikit-learn's: larger products are nearer.
        products = -codes[rows] @ codes.T
        theirs = np.argsort(products, axis=1, kind="stable")[:, :K]
        distances = np.take_along_axis(products, theirs, axis=1)
    else:
        index = NearestNeighbors(n_neighbors=K, algorithm="brute", metric=metric).fit(codes)
        distances, theirs = index.kneighbors(codes[rows])
    worst, different = 0.0, 0
    for line, expected, reference in zip(answer.stdout.splitlines(), theirs, distances):
        hits = json.loads(line)["neighbours"]
        ours = np.array([hit["distance"] for hit in hits])
        # Relative to the answer's scale: the query's own distance is 0 but for rounding.
        error = np.abs(ours - reference).max() / np.abs(reference).max()
        worst = max(worst, float(error))
        # Equally near ones may change places.
        different += sum(
            row_of[hit["id"]] != row and abs(hit["distance"] - d) > 1e-6 * abs(d)
            for hit, row, d in zip(hits, expected, reference)
        )
    print(f"{metric:10} {QUERIES} queries, {different} different neighbours, largest relative difference {worst:.1e}")
    failed |= different > 0 or worst > 1e-4
sys.exit(failed)
