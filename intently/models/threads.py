"""How many threads PyTorch uses, in processes that use PyTorch at all."""

import contextlib
import sys
import threading
from collections.abc import Iterator


class _Seen(threading.local):
    """Whether the thread has been inside `intra_op_threads` before."""

    before = False


_seen, _lock = _Seen(), threading.Lock()
_num_inside, _newest, _outside = 0, 0, 0  # threads inside a block; the last number set in one; the number outside


@contextlib.contextmanager
def intra_op_threads(num_threads: int) -> Iterator[None]:
    """Run PyTorch with this many threads inside the block; afterwards the calling thread has its own number again.

    Where nothing has imported PyTorch there are no threads of it to count, and nothing happens.

    One thread is best for answering queries one at a time: the products are too small to share, and waiting for a
    second thread costs more than it brings. Batches want all cores.

    PyTorch keeps a number for each thread, and a new thread begins with the last that any thread has set. One whose
    first call comes while another is inside a block would take that block's number for its own, and keep it: it gets
    the number that was set outside instead. Threads that never enter a block should not make their first call to
    PyTorch while others are inside one.
    """
    global _num_inside, _newest, _outside
    if "torch" not in sys.modules:
        yield
        return
    import torch

    with _lock:
        own = torch.get_num_threads()
        if not _num_inside:
            _outside = own
        elif not _seen.before and own == _newest:
            own = _outside
        _seen.before, _newest = True, num_threads
        _num_inside += 1
        torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        with _lock:
            _num_inside -= 1
            torch.set_num_threads(own)
