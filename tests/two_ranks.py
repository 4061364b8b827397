"""Functions run on two ranks of a process group, in processes that start in a moment."""

import gc
import multiprocessing
import os
import pickle
import time
from datetime import timedelta
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

# What takes seconds to import. A server that imported it once is forked for each rank.
PRELOADED = (
    'mmpretrain.models', 'mmseg.models', 'lt_mm.datasets', 'lt_mm.engine', 'lt_mm.evaluation',
    'lt_mm.models',
)  # fmt: skip


def start_server():
    """Start the process that is forked for each rank, unless it runs already."""
    multiprocessing.set_forkserver_preload(list(PRELOADED))
    # A CUDA context does not survive a fork.
    with mock.patch.dict(os.environ, CUDA_VISIBLE_DEVICES=''):
        forkserver.ensure_running()


def run_on_two_ranks(function, *args, folder, timeout=300):
    """Call ``function(rank, *args)`` on both ranks of a gloo group; return the two results.

    Each call gets two new processes, so nothing is left of an earlier one. The function has to be
    found by its name in its module, and results are what ``torch.save`` can write.

    Args:
        function: Called on the CPU, with one thread, after the group was initialised.
        args: What follows the rank.
        folder: An empty folder for the rendezvous and the results.
        timeout: After so many seconds the processes are killed.

    Raises:
        torch.multiprocessing.ProcessRaisedException: A rank failed; it holds the traceback. The
            other rank is ended.
        TimeoutError: A rank did not return in time.
    """
    start_server()
    # Pickled here, tensors are copied; torch would share them with the processes.
    call = pickle.dumps((function, args))
    context = mp.start_processes(
        _rank, (call, str(folder)), nprocs=2, join=False, start_method='forkserver'
    )
    end = time.monotonic() + timeout
    while not context.join(max(0, end - time.monotonic())):
        if time.monotonic() > end:
            for process in context.processes:
                process.kill()
            raise TimeoutError(f'{function.__name__} did not return within {timeout} s')
    return [torch.load(Path(folder, f'{rank}.pth'), weights_only=False) for rank in range(2)]


def _rank(rank, call, folder):
    torch.set_num_threads(1)
    # mmengine collects garbage for every data set: what was imported is none.
    gc.freeze()
    function, args = pickle.loads(call)
    # A rank that waits in vain for the other tells where, before both are killed.
    _join(rank, folder)
    torch.save(function(rank, *args), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def _join(rank, folder, attempts=3):
    """Initialise the group, again if gloo loses a connection: now and then, on a busy machine."""
    for attempt in range(attempts):
        store = f'file://{folder}/store{attempt}'
        try:
            dist.init_process_group('gloo', store, timedelta(seconds=120), rank=rank, world_size=2)
        except RuntimeError as error:
            # The other rank sees its end of the same connection closed, and comes here as well.
            if 'connectFullMesh' not in str(error) or attempt == attempts - 1:
                raise
        else:
            return
