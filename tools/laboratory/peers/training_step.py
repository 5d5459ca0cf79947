"""Times a training step of AGKD-BML in eager PyTorch, for `tools.benchmark --peer`.

  python3 -m venv peer && peer/bin/pip install torch
  peer/bin/python tools/laboratory/peers/training_step.py --depth=16 --width=2 --batch_size=32 --attack_steps=2

Needs only torch. The step does what a step of the recipe `agkd_bml` does, on random images and without augmentation.
A clean pass finds the most confusing class of each image. The images are attacked towards that class, and clean images
of that class towards the label. The teacher computes the attention maps of both clean batches. The student passes once
over the three batches. Then come the loss, its gradient, and SGD with momentum.
"""

import argparse
import statistics
import sys
import time

import torch
from torch.nn import functional
from wide_resnet import WideResNet

CLASSES, EPS = 10, 8 / 255


def attention_map(features):
    """Returns the class-irrelevant maps [B, h, w] of features [B, K, h, w], each scaled to [0, 1]."""
    maps = features.sum(1)
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=1e-8)


def angular_distance(a, b):
    """Returns 1 - |cos(a, b)| per row."""
    return 1.0 - functional.cosine_similarity(a, b).abs()


def smoothed_cross_entropy(logits, labels, smoothing=0.5):
    """Returns the mean cross-entropy with 1 - smoothing on the label and the rest spread over the others."""
    target = torch.full_like(logits, smoothing / (CLASSES - 1)).scatter(1, labels[:, None], 1.0 - smoothing)
    return functional.cross_entropy(logits, target)


def attack(student, images, targets, steps):
    """Returns images after targeted PGD in the l_inf ball."""
    step = EPS if steps <= 2 else EPS / 4
    low, high = (images - EPS).clamp(min=0.0), (images + EPS).clamp(max=1.0)
    adv = torch.minimum(torch.maximum(images + EPS * (2.0 * torch.rand_like(images) - 1.0), low), high)
    for _ in range(steps):
        adv.requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(student(adv)[2], targets, reduction="sum"), adv)
        adv = torch.minimum(torch.maximum(adv.detach() - step * gradient.sign(), low), high)
    return adv


def loss_of(student, teacher, clean, labels, others, steps):
    """Returns the loss of a batch; `others(classes)` draws a clean image for each of the classes."""
    student.eval()
    with torch.no_grad():
        of_label = functional.one_hot(labels, CLASSES).bool()
        confusing = student(clean)[2].masked_fill(of_label, -torch.inf).argmax(1)
    other = others(confusing)
    forward, backward = attack(student, clean, confusing, steps), attack(student, other, labels, steps)
    student.train()
    with torch.no_grad():
        aims = attention_map(teacher(torch.cat([clean, other]))[0].float()).chunk(2)
    outputs = [part.float().chunk(3) for part in student(torch.cat([forward, clean, backward]))]
    (features, _, other_features), (anchor, positive, negative), (logits, _, _) = outputs
    triplet = angular_distance(anchor, positive) - angular_distance(anchor, negative)
    norm = sum(embedding.square().mean() for embedding in (anchor, positive, negative))
    distilled = [
        (attention_map(part) - aim).abs().mean() for part, aim in zip((features, other_features), aims, strict=True)
    ]
    metric = (0.03 + triplet).clamp(min=0.0).mean() + 0.001 * norm
    return smoothed_cross_entropy(logits, labels) + sum(distilled) + 2.0 * metric


def main():
    """Times the steps and prints their median in seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"depth": 16, "width": 2, "batch_size": 32, "attack_steps": 2, "warmup": 3, "repeat": 8}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    for name in ("channels_last", "bfloat16", "compile", "turns"):
        parser.add_argument(f"--{name}", action="store_true")
    flags = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = torch.channels_last if flags.channels_last else torch.contiguous_format
    student, teacher = (WideResNet(flags.depth, flags.width).to(device, memory_format=layout) for _ in range(2))
    teacher.eval().requires_grad_(False)
    if flags.compile:
        student, teacher = torch.compile(student), torch.compile(teacher)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)
    clean = torch.rand(flags.batch_size, 3, 32, 32, device=device).contiguous(memory_format=layout)
    labels = torch.randint(0, CLASSES, (flags.batch_size,), device=device)
    pool = torch.rand(CLASSES, 64, 3, 32, 32, device=device)

    def others(classes):
        return pool[classes, torch.randint(0, 64, classes.shape, device=device)].contiguous(memory_format=layout)

    def step():
        begun = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=flags.bfloat16):
            loss = loss_of(student, teacher, clean, labels, others, flags.attack_steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    for _ in range(flags.warmup):
        step()
    if flags.turns:
        print("ready", flush=True)
    for _ in sys.stdin if flags.turns else range(1):
        median = statistics.median(step() for _ in range(flags.repeat))
        line = f"torch {torch.__version__}, {device}: median {median:.7f} s, {flags.batch_size / median:.4f} images/s"
        if device == "cuda":
            line += f", peak memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB"
        print(line, flush=True)


if __name__ == "__main__":
    main()
