"""Proof on a GPU that a slimmed CUDA provider serves, made so small that it can be carried there.

`python -m benchmarks.assemble.gpu_proof.make FOLDER` fills a folder of about 42 MB on any machine;
`bash FOLDER/run.sh` on the machine with the GPU writes `$OUT/record.json`. That machine needs
Python 3.12 and NVIDIA's own wheels for CUDA 13 in its site-packages (torch for cu130 brings them):
2 GB that need not travel. `on_device/` runs there and imports nothing of ours but the runtime.

What is proven: the parts of an image, not the image, since the machines at hand have no container
engine. Python there is 3.12 and not the image's 3.13, so ONNX Runtime's wheel is the one for 3.12;
its CUDA provider is cut by the same code.
"""
