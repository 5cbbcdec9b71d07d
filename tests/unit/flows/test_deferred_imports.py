"""torch's compiler is not loaded before it is needed, and is the real one from then on.

Each case is a process of its own, as a loaded module stays loaded.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LOADED = "'torch._dynamo.eval_frame' in sys.modules"
NET = "net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))"


def in_process(repo: Path, *lines: str) -> None:
    code = "\n".join(["import sys", "import flows", "import torch", *lines])
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        cwd=repo,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_nothing_that_trains_without_compiling_loads_it(repo: Path) -> None:
    in_process(
        repo, "import flows.finetune, timm", NET, "optimizer = torch.optim.AdamW(net.parameters())",
        "net(torch.zeros(4, 2)).sum().backward()", "optimizer.step()", "optimizer.zero_grad()",
        "torch.optim.AdamW(net.parameters()).load_state_dict(optimizer.state_dict())",
        "from torch._dynamo import OptimizedModule", "assert not isinstance(net, OptimizedModule)",
        f"assert not {LOADED}", "assert 'sympy' not in sys.modules",
    )  # fmt: skip


def test_what_is_compiled_is_recognised_and_a_disabled_function_is_not_compiled(repo: Path) -> None:
    """The names were taken before the compiler was loaded, as Lightning, timm and torch.optim take them."""
    in_process(
        repo, "from torch._dynamo import OptimizedModule, disable", NET,
        "compiling = []",
        "@disable",
        "def mark(x):",
        "    compiling.append(torch.compiler.is_compiling())",
        "    return x + 1",
        "def twice(x):",
        "    return mark(x * 2) * 3",
        f"assert mark(torch.zeros(1)) == 1 and not {LOADED}",
        "compiled = torch.compile(net, backend='eager')",
        f"assert {LOADED} and isinstance(compiled, OptimizedModule) and not isinstance(net, OptimizedModule)",
        "assert torch.equal(torch.compile(twice, backend='eager')(torch.ones(2)), torch.full((2,), 9.0))",
        "assert compiling == [False, False]",
        "assert type(compiled) is torch._dynamo.OptimizedModule is sys.modules['torch._dynamo'].OptimizedModule",
    )  # fmt: skip


@pytest.mark.parametrize(
    "lines",
    [
        ["import torch._dynamo.config as found"],
        [
            NET,
            "net.eval()",
            "found = torch.export.export(net, (torch.zeros(4, 2),))",
            "assert torch.allclose(found.module()(torch.ones(4, 2)), net(torch.ones(4, 2)))",
        ],
    ],
    ids=["submodule", "export"],
)
def test_another_name_is_that_of_the_real_module(repo: Path, lines: list[str]) -> None:
    """No module exists twice, and the names that torchvision has taken work."""
    in_process(
        repo, "import torchvision.ops.roi_align", f"assert not {LOADED}", *lines,
        f"assert {LOADED} and found is not None",
        "import torch._dynamo, torch._dynamo.config, torch._dynamo.utils",
        "assert torch._dynamo is sys.modules['torch._dynamo'] and torch._dynamo.__spec__.origin",
        "assert torch._dynamo.config is sys.modules['torch._dynamo.config'] and torch._dynamo.config.__spec__.origin",
        "assert torch._dynamo.utils is sys.modules['torch._dynamo.utils'] and torch._dynamo.utils.__spec__.origin",
        "asked = sys.modules['torchvision.ops.roi_align'].is_compile_supported('cpu')",
        "assert asked == torch._dynamo.utils.is_compile_supported('cpu')",
        "assert not [finder for finder in sys.meta_path if type(finder).__module__ == 'flows.deferred_imports']",
    )  # fmt: skip
