/* A single sequence through a large net reads W as it lies: to lay it out anew would not pay. What counts is how fast W
   comes from the caches, and how little threads wait for each other. Every thread takes some units, forward and back,
   and so reads the same rows of W in all steps. */

#ifndef SINGLE_H
#define SINGLE_H

#include "steps.h"

/* The i-th of `count`, every second step from the last to the first: what was read last is still in the caches. */
static int64_t turned(int64_t t, int64_t i, int64_t count) { return t & 1 ? count - 1 - i : i; }

/* Step t at a thread's units: the equations of some are computed while W comes for the next. */
static void forward_single(const layer *l, place p, slice s, int64_t t) {
    const int64_t H = l->hidden, lo = s.panel * UNITS, hi = least(H, s.panels * UNITS);
    const int64_t blocks = (hi - lo + LANES - 1) / LANES;
    const layout o = layout_of(l, 0);
    const float *z = preactivation(l, o, p.first);
    vec sums[2][4] = {{{0}}};
    for (int64_t i = 0, last = 0; i <= blocks; i++) {
        const int64_t j = lo + turned(t, i, blocks) * LANES;
        for (int g = 0; g < o.gates; g++) {
            if (i < blocks && !p.rests)
                sums[i & 1][g] = dots(1, p.h, H, l->W + (g * H + j) * H, H, valid(l, j), H, no_next);
            if (g == 0 && i > 0) units_forward(l, p, 0, last, sums[~i & 1], z, (vec){0});
        }
        last = j;
    }
}

/* What dz of a step gives through the rows of W of some units: dE/dh of the step before is the sum over all units. */
static void through_rows(const layer *l, int64_t first, int64_t unit, float *part) {
    const int64_t H = l->hidden, gates = layout_of(l, 0).gates;
    for (int64_t j = 0; j < H; j += MOST_FOURS * 4 * LANES)
        for (int g = 0; g < gates; g++) {
            const float *dz = l->cell == GRU && g == 2 ? l->dq + first * H : l->dz + first * l->stride + g * H;
            const panel rows = {l->W + (g * H + unit) * H + j, H};
            product_of_row((int)least(MOST_FOURS, (H - j) / (4 * LANES)), dz + unit, rows, UNITS, part + j, g > 0);
        }
}

static void backward_single(const layer *l, member *m) {
    const int64_t H = l->hidden, parts = H / UNITS;
    const slice s = slice_of(l, layout_of(l, 1), m);
    for (int64_t t = l->end - 1; t >= (l->needs_d_start ? -1 : 0); t--) {
        float *part = l->packed + (t & 1) * parts * H; /* of the step before, others may read still */
        for (int64_t i = 0; i < s.panels - s.panel && t + 1 < l->end; i++) {
            const int64_t number = s.panel + turned(t, i, s.panels - s.panel);
            through_rows(l, t + 1, number * UNITS, part + number * H);
        }
        barrier(m);
        const place p = place_backward(l, t, t);
        for (int64_t j = s.panel * UNITS; j < s.panels * UNITS; j += LANES) {
            vec sum = {0};
            for (int64_t i = 0; i < parts && t + 1 < l->end; i++) sum += load(part + i * H + j, LANES);
            if (t >= 0) units_backward(l, p, 0, j, sum);
            else store(l->dh + j, load(l->dh + j, LANES) + sum, LANES);
        }
    }
}

#endif
