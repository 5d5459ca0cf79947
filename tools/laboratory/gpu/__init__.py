"""What is to be measured on a GPU, prepared where TensorFlow is, and run unattended where it is not.

On a machine with this project,

  python -m tools.laboratory.gpu.prepare --output=gpu --data_dir=DIR

writes a folder that travels with the checkout: programs, the records of CIFAR-10, compressed, and what decodes them. On
the machine with the GPU, in the checkout, with JAX, NumPy and, for the peer, PyTorch,

  python -m tools.laboratory.gpu.measure gpu --output=found --parts=a --minutes=5
  python -m tools.laboratory.gpu.measure gpu --output=found --parts=b,c --minutes=9

writes found/summary.md, results.json, trained.zip and the best student's weights, anew after each piece, so that what
was measured is there whenever it is broken off. Part a: seconds of WRN-28-10's step in turn with PyTorch's. Part b: a
teacher and three students in equal time, and attacks on them. Part c: WRN-28-10, for as long as there is time.
`prepare --tiny` makes a folder whose measuring takes some minutes on a CPU: the rehearsal.
"""
