"""Nearest-neighbour speed of the peers on 60,000 codes of 64 dimensions, on the CPU.

`--prepare FOLDER` writes what all contestants work on: the codes (principal components of MNIST's
pixels, raw little-endian f32) and the right answers to the queries, which are the first codes
(scikit-learn, brute force; raw little-endian u32). `--peer` measures one of the peers on them.
"""
import argparse
import os
import time
from pathlib import Path

import numpy as np

DIMS, K = 64, 6

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--folder", required=True, type=Path, help="where codes.f32 and truth.u32 are")
p.add_argument("--prepare", action="store_true", help="write them, from --mnist")
p.add_argument("--mnist")
p.add_argument("--images", type=int, default=60000)
p.add_argument("--queries", type=int, default=5000)
p.add_argument("--peer", choices=["faiss-flat", "scikit-learn", "faiss-hnsw", "usearch"])
p.add_argument("--singles", type=int, default=2000, help="queries asked one at a time")
p.add_argument("--threads", type=int, default=os.cpu_count())
a = p.parse_args()

if a.prepare:
    import mnist
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

    pixels = mnist.images(a.mnist)[: a.images].reshape(-1, 784)
    codes = np.ascontiguousarray(PCA(DIMS, random_state=0).fit_transform(pixels).astype("float32"))
    # In f64: two distances that f32 cannot tell apart must not make an exact answer look wrong.
    brute = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(codes.astype("float64"))
    truth = brute.kneighbors(codes[: a.queries].astype("float64"), return_distance=False)
    truth.astype("<u4").tofile(a.folder / "truth.u32")
    codes.astype("<f4").tofile(a.folder / "codes.f32")
    raise SystemExit

codes = np.fromfile(a.folder / "codes.f32", "<f4").reshape(-1, DIMS)
truth = np.fromfile(a.folder / "truth.u32", "<u4").reshape(-1, K)
queries = codes[: len(truth)]


def batch(run):
    t = time.perf_counter()
    found = run(queries)
    print(f"batch queries/s {len(queries) / (time.perf_counter() - t):.0f}")
    recall(found)


def single(run, count):
    run(queries[0])
    t = time.perf_counter()
    found = [run(q) for q in queries[:count]]
    print(f"single queries/s {count / (time.perf_counter() - t):.0f}")
    return found


def recall(found):
    shares = [len(set(map(int, f)) & set(map(int, t))) / K for f, t in zip(found, truth)]
    print(f"recall {np.mean(shares):.4f}", flush=True)


def faiss_with_threads():
    import faiss

    faiss.omp_set_num_threads(a.threads)
    return faiss


if a.peer == "scikit-learn":
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    with threadpool_limits(a.threads):
        brute = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(codes)
        batch(lambda q: brute.kneighbors(q, return_distance=False))
        single(lambda q: brute.kneighbors(q[None], return_distance=False)[0], min(a.singles, 200))
elif a.peer == "faiss-flat":
    flat = faiss_with_threads().IndexFlatL2(DIMS)
    flat.add(codes)
    batch(lambda q: flat.search(q, K)[1])
    single(lambda q: flat.search(q[None], K)[1][0], min(a.singles, 500))
elif a.peer == "faiss-hnsw":
    faiss = faiss_with_threads()
    hnsw = faiss.IndexHNSWFlat(DIMS, 16)
    hnsw.hnsw.efConstruction, hnsw.hnsw.efSearch = 100, 64
    t = time.perf_counter()
    hnsw.add(codes)
    print(f"build seconds {time.perf_counter() - t:.2f}")
    recall(single(lambda q: hnsw.search(q[None], K)[1][0], a.singles))
elif a.peer == "usearch":
    import usearch.index

    index = usearch.index.Index(ndim=DIMS, metric="l2sq", dtype="f32")
    t = time.perf_counter()
    index.add(np.arange(len(codes)), codes, threads=a.threads)
    print(f"build seconds {time.perf_counter() - t:.2f}")
    recall(single(lambda q: index.search(q, K).keys, a.singles))
else:
    p.error("one of --prepare and --peer is needed")
