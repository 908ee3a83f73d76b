"""A CUDA device that is not there: tensors "on" it lie in memory, and code that would fail or wait on a card is found.

While `PretendCard` is active, `tensor.device` is cuda:0 for what was put there. Everything is computed on the CPU, so
that values are real and control flow runs. Raised, as on a card: tensors of two devices in one operation, numpy arrays
of tensors on the card, pinned tensors that are not on the CPU. Recorded in `waits`, each with the line of the project
that caused it: what makes the host wait for the device (values read back, sizes that depend on values, copies from or
to memory that is not pinned). Kernels, precision and speed are those of the CPU.
"""

import traceback
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

CARD = torch.device("cuda:0")
ROOT = Path(__file__).resolve().parents[1]
READ = {"item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__contains__", "equal", "allclose"}
SIZED = {"nonzero", "bincount", "unique", "unique_consecutive", "masked_select", "argwhere"}
DIRECT = {"numpy", "__array__"}
PASS = {
    "__get__",
    "__set__",
    "__repr__",
    "size",
    "dim",
    "numel",
    "__len__",
    "stride",
    "is_contiguous",
    "_has_compatible_shallow_copy_type",
    "untyped_storage",
    "device",
    "is_cuda",
    "dtype",
    "shape",
}


class Event:
    """torch.cuda.Event."""

    def record(self, *_) -> None:
        """Do nothing, because all is computed at once."""

    synchronize = record


class PretendCard(TorchFunctionMode):
    """See the module. `waits`: (what waited, file:line of the project) in order."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self._on: dict[int, torch.UntypedStorage] = {}  # kept, so that no address is used again
        self._pinned: dict[int, torch.UntypedStorage] = {}
        self._patches = ExitStack()

    def __enter__(self) -> "PretendCard":
        real = torch.autocast
        cuda = {
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "set_device": lambda _: None,
            "is_bf16_supported": lambda **_: True,
            "mem_get_info": lambda *_: (1 << 30, 1 << 31),
            "synchronize": lambda *_: None,
            "get_device_capability": lambda *_: (9, 0),
            "Event": Event,
        }
        for name, value in cuda.items():
            self._patches.enter_context(mock.patch.object(torch.cuda, name, value))
        # C++ code groups tensors by the device on which they are in truth
        grouped = torch.nn.utils.clip_grad._group_tensors_by_device_and_dtype

        def on_card(tensors):
            return {(CARD, kind): found for (_, kind), found in grouped(tensors).items()}

        clip = mock.patch.object(torch.nn.utils.clip_grad, "_group_tensors_by_device_and_dtype", on_card)
        self._patches.enter_context(clip)
        as_cpu = lambda device_type, *a, **k: real("cpu", *a, **k)  # noqa: E731
        self._patches.enter_context(mock.patch.object(torch, "autocast", as_cpu))
        # a method, because a mode is not seen in the threads that read ahead
        self._patches.enter_context(mock.patch.object(torch.Tensor, "pin_memory", lambda x: self._pin(x)))
        return super().__enter__()

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        self._patches.close()

    def on(self, x: torch.Tensor) -> bool:
        """Whether a tensor is on the card."""
        return x.untyped_storage().data_ptr() in self._on

    def wait(self, what: str) -> None:
        """Record that the host waits."""
        own = [f for f in traceback.extract_stack() if "/src/speechladder/" in f.filename]
        where = f"{Path(own[-1].filename).relative_to(ROOT)}:{own[-1].lineno}" if own else "elsewhere"
        self.waits.append((what, where))

    def _mark(self, found, where: dict[int, torch.UntypedStorage]):
        for x in tree_leaves(found):
            if isinstance(x, torch.Tensor) and x.layout == torch.strided:
                where[x.untyped_storage().data_ptr()] = x.untyped_storage()
        return found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", str(func))
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        on = [x for x in given if self.on(x)]
        getter = getattr(getattr(func, "__self__", None), "__name__", "")  # of torch.Tensor.device.__get__: device
        if on and {name, getter} & {"device", "is_cuda"}:
            return CARD if "device" in (name, getter) else True
        if name in PASS:
            return self._plain(func, args, kwargs, on)
        self.calls.append(name)
        if name in ("to", "cuda", "cpu", "type_as", "_to_copy"):
            return self._moved(func, name, args, kwargs, on)
        if name == "copy_":
            return self._copied(func, args, kwargs)
        if name in DIRECT and on:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        self._check(name, given, on, args)
        return self._made(func, name, args, kwargs, on)

    def _pin(self, x: torch.Tensor) -> torch.Tensor:
        if self.on(x):
            raise RuntimeError("cannot pin 'torch.cuda.FloatTensor': only dense CPU tensors can be pinned")
        return self._mark(x.clone(), self._pinned)

    def _plain(self, func, args, kwargs, on):
        found = func(*args, **kwargs)
        if on and isinstance(found, torch.Tensor):  # .data, .T
            self._mark(found, self._on)
        return found

    def _check(self, name, given, on, args) -> None:
        if not on:
            return
        elsewhere = [x for x in given if not self.on(x) and x.dim() and x.numel()]
        if name in ("__getitem__", "__setitem__"):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            if elsewhere or any(isinstance(i, list) for i in index):
                self.wait(f"{name} with an index from the host")
            if name == "__getitem__" and any(isinstance(i, torch.Tensor) and i.dtype == torch.bool for i in index):
                self.wait("__getitem__ with a mask")
        elif elsewhere:
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, cuda:0 and cpu")
        if name in READ or name in SIZED:
            self.wait(name)
        if name == "repeat_interleave" and len(args) > 1 and isinstance(args[1], torch.Tensor):
            self.wait(name)

    def _moved(self, func, name, args, kwargs, on):
        source, rest = args[0], [*args[1:], *kwargs.values()]
        wanted = [x for x in rest if isinstance(x, torch.device | str)]
        target = torch.device(wanted[0]).type if wanted else {"cuda": "cuda", "cpu": "cpu"}.get(name)
        if target is None:
            found = func(*args, **kwargs)
            return self._mark(found, self._on) if on else found
        simple = [x for x in args[1:] if not isinstance(x, torch.device | str)]
        kept = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking", "copy")}
        simple = [x for x in simple if not isinstance(x, bool)]
        found = torch.Tensor.to(source, *simple, **kept) if simple or kept else source
        was = "cuda" if self.on(source) else "cpu"
        if was == target:
            return self._mark(found, self._on) if on else found
        if source.numel() and not (kwargs.get("non_blocking") and self._is_pinned(source)):
            self.wait(f"copy {was} -> {target}")
        found = found.clone()
        return self._mark(found, self._on) if target == "cuda" else found

    def _is_pinned(self, x: torch.Tensor) -> bool:
        return x.untyped_storage().data_ptr() in self._pinned

    def _copied(self, func, args, kwargs):
        here, source = args[0], args[1]
        if self.on(here) != self.on(source) and source.numel():
            host = source if self.on(here) else here
            free = (kwargs.get("non_blocking") or args[2:3] == (True,)) and self._is_pinned(host)
            if not free:
                self.wait("copy_")
        return func(*args, **kwargs)

    def _made(self, func, name, args, kwargs, on):
        device, pinned = kwargs.get("device"), kwargs.pop("pin_memory", False)
        here = device is not None and torch.device(device).type == "cuda"
        if here:
            kwargs["device"] = torch.device("cpu")
            if name in ("tensor", "as_tensor") and not on:
                self.wait("tensor made of host values")
        if name == "new_tensor" and on:
            self.wait("tensor made of host values")
        found = func(*args, **kwargs)
        if pinned:
            return self._mark(found, self._pinned)
        return self._mark(found, self._on) if here or (on and device is None) else found
