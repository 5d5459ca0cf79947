"""Prepares measurements with TensorFlow, and runs them unattended on a machine with a GPU that does not have it.

On a machine with this project,

  python -m tools.laboratory.gpu.prepare --output=gpu --data_dir=DIR

writes a folder that travels with the checkout. It holds the programs, the compressed records of CIFAR-10, and a decoder
for them. On the machine with the GPU, in the checkout, with JAX, NumPy and, for the peer, PyTorch,

  python -m tools.laboratory.gpu.measure gpu --output=found --parts=a --minutes=4
  python -m tools.laboratory.gpu.measure gpu --output=found --parts=d --minutes=6
  python -m tools.laboratory.gpu.measure gpu --output=found --parts=b,c --minutes=9

write found/summary.md, results.json, trained.zip, the best student's weights, and the study's archives. They are
rewritten after each piece, so that an interruption loses nothing that was measured. Part a times the step of WRN-28-10,
taking turns with PyTorch's. Part b trains a teacher, and students for equal time, and attacks the students. Part c
trains WRN-28-10 for as long as there is time. Part d trains and attacks the small networks of study.txt, several at a
time; `tools.laboratory.portable collect` makes a run of each folder in its archives. The robust teachers that study.txt
names are trained before `prepare`. `prepare --tiny` makes a folder for a rehearsal, which takes some minutes on a CPU.
"""
