"""Makes the TorchScript files of the tests and what PyTorch itself answers. Needs torch 2.7.1 (CPU)."""
import json
import sys
from pathlib import Path

import torch


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(4, 8)
        self.b = torch.nn.Linear(8, 3)

    def forward(self, x):
        return torch.softmax(self.b(torch.relu(self.a(x))), dim=1)


class TwoByTwo(torch.nn.Module):
    """Two inputs of different types, two outputs."""

    def forward(self, x: torch.Tensor, n: torch.Tensor):
        return x * n.to(torch.float32), n + 1


class Named(torch.nn.Module):
    """A dictionary of outputs is not ordered by position but by name."""

    def forward(self, x: torch.Tensor):
        if x.numel() == 0:
            raise RuntimeError("nothing to add up")
        return {"sum": x.sum(dim=1), "largest": x.max(dim=1)[0]}


def flat(t):
    return {"datatype": str(t.dtype), "shape": list(t.shape), "data": t.reshape(-1).tolist()}


def main(out):
    torch.manual_seed(7)
    out = Path(out)
    answers = {}
    x = torch.randn(5, 4)
    mlp = torch.jit.script(Mlp().eval())
    mlp.save(str(out / "mlp.pt"))
    answers["mlp"] = {"in": [flat(x)], "out": [flat(mlp(x).detach())]}
    two = torch.jit.script(TwoByTwo())
    two.save(str(out / "two.pt"))
    n = torch.arange(6, dtype=torch.int64).reshape(2, 3)
    y = torch.randn(2, 3)
    answers["two"] = {"in": [flat(y), flat(n)], "out": [flat(t) for t in two(y, n)]}
    named = torch.jit.script(Named())
    named.save(str(out / "named.pt"))
    answers["named"] = {"in": [flat(y)], "out": {k: flat(v) for k, v in named(y).items()}}
    (out / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")


main(sys.argv[1])
