/* A single sequence through a large net reads W in place, as packing it would not pay. What counts
   is how fast W comes from the caches and how little threads wait for each other. Every thread
   takes some units, forward and backward, and so reads the same rows of W in all steps. */

#ifndef SINGLE_H
#define SINGLE_H

#include "steps.h"

/* The i-th of `count` blocks, in every second step from the last to the first: what was read last
 * is still in cache. */
static int64_t alternating(int64_t t, int64_t i, int64_t count) {
    return t & 1 ? count - 1 - i : i;
}

/* Step t at a thread's units: the equations of one block are computed while W arrives for the next.
   Returns whether the products at the second step, t = 1, are finite: they are not if W has a NaN
   or an infinity. */
static int forward_single(const layer *l, place p, slice s, int64_t t) {
    const int64_t H = l->hidden, lo = s.panel * UNITS, hi = least(H, s.panels * UNITS);
    const int64_t blocks = (hi - lo + LANES - 1) / LANES;
    const layout o = layout_of(l, 0);
    const float *z = preactivation(l, o, p.first);
    vec sums[2][4] = {{{0}}}, difference = {0};
    for (int64_t i = 0, last = 0; i <= blocks; i++) {
        const int64_t j = lo + alternating(t, i, blocks) * LANES;
        for (int g = 0; g < o.gates; g++) {
            if (i < blocks && !p.skips_W) {
                vec sum = dots(1, p.h, H, l->W + (g * H + j) * H, H, valid(l, j), H, no_next);
                sums[i & 1][g] = sum;
                if (t == 1) difference += sum - sum;
            }
            if (g == 0 && i > 0) units_forward(l, p, 0, last, sums[~i & 1], z, (vec){0});
        }
        last = j;
    }
    return all_zero(difference);
}

/* Saves U x + b of the first two steps at a thread's units, or writes it back to the tape, where
   the gates have taken its place. */
static void copy_preactivations(const layer *l, layout o, slice s, int back) {
    const int64_t H = l->hidden, lo = s.panel * UNITS, hi = least(H, s.panels * UNITS);
    if (l->table_rows) return; /* U x + b is in the table and stays there */
    for (int64_t t = 0; t < 2; t++)
        for (int g = 0; g < o.gates; g++) {
            float *tape = l->gates + t * l->stride + g * H + lo;
            float *saved = l->packed + (t * o.gates + g) * H + lo;
            if (back) memcpy(tape, saved, sizeof(float) * (size_t)(hi - lo));
            else memcpy(saved, tape, sizeof(float) * (size_t)(hi - lo));
        }
}

/* What dz of a step gives through the rows of W of some units: dE/dh of the step before is the sum
 * over all units. */
static void through_rows(const layer *l, int64_t first, int64_t unit, float *part) {
    const int64_t H = l->hidden, gates = layout_of(l, 0).gates;
    for (int64_t j = 0; j < H; j += MOST_FOURS * 4 * LANES)
        for (int g = 0; g < gates; g++) {
            const int reset = l->cell == GRU && g == 2;
            const float *dz = reset ? l->dq + first * H : l->dz + first * l->stride + g * H;
            const panel rows = {l->W + (g * H + unit) * H + j, H};
            const int fours = (int)least(MOST_FOURS, (H - j) / (4 * LANES));
            product_of_row(fours, dz + unit, rows, UNITS, part + j, g > 0);
        }
}

/* All steps backward. The partial sums of two steps alternate in memory, as other threads may still
 * read the last. */
static void backward_single(const layer *l, member *m) {
    const int64_t H = l->hidden, parts = H / UNITS;
    const slice s = slice_of(l, layout_of(l, 1), m);
    for (int64_t t = l->end - 1; t >= (l->needs_d_start ? -1 : 0); t--) {
        float *part = l->packed + (t & 1) * parts * H;
        for (int64_t i = 0; i < s.panels - s.panel && t + 1 < l->end; i++) {
            const int64_t number = s.panel + alternating(t, i, s.panels - s.panel);
            through_rows(l, t + 1, number * UNITS, part + number * H);
        }
        barrier(m);
        const place p = place_backward(l, t, t);
        for (int64_t j = s.panel * UNITS; j < s.panels * UNITS; j += LANES) {
            vec sum = {0};
            for (int64_t i = 0; i < parts && t + 1 < l->end; i++)
                sum += load(part + i * H + j, LANES);
            if (t >= 0) units_backward(l, p, 0, j, sum);
            else store(l->dh + j, load(l->dh + j, LANES) + sum, LANES);
        }
    }
}

#endif
