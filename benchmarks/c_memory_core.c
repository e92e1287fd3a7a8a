/* Runs core/kernel.c over many shapes with every array exactly as long as it must be: a read or write beyond one,
   or of what was never written, is an address sanitizer's or valgrind's to find. Built and run by
   benchmarks/c_memory.py. The last line printed is the number of cases and a sum over all results. */

#include "../core/kernel.c"

#include <stdio.h>
#include <stdlib.h>

static double total;

static float *numbers(int64_t count, int fill) { /* filled with numbers within -0.5..0.5, or left as it comes */
    float *x = NULL;
    if (posix_memalign((void **)&x, 64, 4 * (size_t)(count ? count : 1))) abort();
    for (int64_t i = 0; fill && i < count; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return x;
}

static void add(const float *x, int64_t count) { for (int64_t i = 0; i < count; i++) total += x[i]; }

static void run_case(int cell, int64_t steps, int64_t batch, int64_t hidden, int lengths, int table) {
    const int64_t gates = cell == RNN ? 1 : cell == LSTM ? 4 : 3, stride = cell == RNN ? hidden : gates * hidden + 3;
    int64_t *sizes = malloc(8 * (size_t)steps), rows = 0, entries = 5;
    for (int64_t t = 0; t < steps; t++) rows += sizes[t] = lengths && t ? 1 + rand() % sizes[t - 1] : batch;
    layer l = {.cell = cell, .gate = SIGMOID, .hidden = hidden, .stride = stride, .until = steps, .asked = 1, .threads = 1};
    l.sizes = sizes;
    l.packed = numbers(packed_size(&l), 0);
    float *W = numbers(gates * hidden * hidden, 1), *b_W = numbers(hidden, 1), *x = numbers(entries * stride, 1);
    float *h_start = numbers(batch * hidden, 1), *c_start = numbers(batch * hidden, 1), *dout = numbers(rows * hidden, 1);
    int64_t *which = malloc(8 * (size_t)rows);
    for (int64_t i = 0; i < rows; i++) which[i] = rand() % entries;
    l.W = W, l.b_W = batch % 2 ? b_W : NULL, l.h_start = h_start, l.c_start = c_start, l.dout = dout;
    if (table) l.numbers = which, l.table = x;
    l.gates = numbers(rows * stride, !table);
    l.h = cell == RNN ? l.gates : numbers(rows * hidden, 0);
    l.c = numbers(rows * hidden, 0), l.q = numbers(rows * hidden, 0);
    pack_forward(&l);
    const int64_t whole = l.until; /* by halves, as a closed loop does */
    l.until = (whole + 1) / 2, forward(&l);
    if (whole > l.until) l.from = l.until, l.until = whole, forward(&l);
    add(l.h, rows * hidden);
    l.from = 0, l.until = whole;
    l.dh = numbers(batch * hidden, 1), l.dc = numbers(batch * hidden, 1);
    l.dz = cell == RNN ? numbers(rows * stride, 0) : l.gates;
    l.dq = batch % 3 ? l.q : numbers(rows * hidden, 0);
    backward(&l);
    add(l.dh, batch * hidden);
    for (int64_t i = 0; i < rows; i++) add(l.dz + i * stride, gates * hidden);
    if (cell == GRU) add(l.dq, rows * hidden);
    if (cell == LSTM) add(l.dc, batch * hidden);
    if (l.dq != l.q) free(l.dq);
    if (l.dz != l.gates) free(l.dz);
    if (l.h != l.gates) free(l.h);
    free(sizes), free(l.packed), free(W), free(b_W), free(x), free(h_start), free(c_start), free(dout), free(which);
    free(l.gates), free(l.c), free(l.q), free(l.dh), free(l.dc);
}

int main(void) {
    const int64_t hidden[] = {1, 3, 8, 15, 16, 17, 33, 64, 70, 130}, batch[] = {1, 2, 5, 6, 7, 13}, steps[] = {1, 2, 5};
    int cases = 0;
    for (int cell = RNN; cell <= GRU; cell++)
        for (int h = 0; h < 10; h++)
            for (int b = 0; b < 6; b++)
                for (int t = 0; t < 3; t++)
                    for (int how = 0; how < 4; how++, cases++)
                        run_case(cell, steps[t], batch[b], hidden[h], how & 1, how >> 1);
    printf("%d cases, sum %.6g\n", cases, total);
    return total == total ? 0 : 1;
}
