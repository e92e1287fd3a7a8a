"""One thread for every test: with a busy second core two threads are slower than one."""

import torch

torch.set_num_threads(1)
