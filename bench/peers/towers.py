"""How fast ONNX Runtime runs an encoder of images: images a second in batches of 8, processor time for each, seconds for
one, memory."""
import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--model", required=True)
p.add_argument("--images", type=int, required=True)
p.add_argument("--threads", type=int, required=True)
a = p.parse_args()

BATCH = 8
options = ort.SessionOptions()
options.intra_op_num_threads = a.threads
options.inter_op_num_threads = 1
# As ours: threads that spin cost processor time, and cores that others need.
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = ort.InferenceSession(a.model, options, providers=["CPUExecutionProvider"])
port = session.get_inputs()[0]
x = np.random.default_rng(0).standard_normal((BATCH, *port.shape[1:]), dtype=np.float32)
session.run(None, {port.name: x})
batches = max(1, -(-a.images // BATCH))
start, before = time.perf_counter(), time.process_time()
for _ in range(batches):
    session.run(None, {port.name: x})
done = batches * BATCH
rate = done / (time.perf_counter() - start)
cost = (time.process_time() - before) / done
each = []
for _ in range(min(20, max(1, a.images))):
    start = time.perf_counter()
    session.run(None, {port.name: x[:1]})
    each.append(time.perf_counter() - start)
lines = Path("/proc/self/status").read_text().splitlines()
resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
print(json.dumps({"images_per_second": rate, "processor_seconds": cost, "seconds": statistics.median(each),
                  "resident_mib": resident}))
