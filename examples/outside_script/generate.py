"""A lab's script as it lies around: one prompt a call, its own arguments, no idea of benchmarks.

    python generate.py --prompt "a red kite" --seed 1 --out kite.mp4

It paints waves whose colour and speed follow from the prompt and the seed. Needs numpy and av.
"""

import argparse
import zlib

import av
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--prompt", required=True)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--frames", type=int, default=9)
parser.add_argument("--out", required=True)
arguments = parser.parse_args()

print(f"painting {arguments.prompt!r}")
chance = np.random.default_rng([zlib.crc32(arguments.prompt.encode()), arguments.seed])
colour, direction = chance.uniform(64, 255, 3), chance.uniform(-0.3, 0.3, 2)
y, x = np.mgrid[0:96, 0:128]
with av.open(arguments.out, "w") as video:
    stream = video.add_stream("libx264", rate=8)
    stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
    stream.codec_context.thread_count = 1  # the same bytes on any machine
    for time in range(arguments.frames):
        wave = 0.5 + 0.5 * np.sin(x * direction[0] + y * direction[1] + time / 2)  # (H, W)
        pixels = (wave[..., None] * colour).astype(np.uint8)  # (H, W, 3)
        video.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
    video.mux(stream.encode())
print(f"wrote {arguments.out}")
