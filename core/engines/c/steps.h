/* The cells' equations (core/cells.py) and their derivatives (core/engines/bptt.py) for one row and
   LANES units from unit j on, given the recurrent product. */

#ifndef STEPS_H
#define STEPS_H

#include "activations.h"
#include "layer.h"

typedef struct {        /* where the rows of step t and of the step before are */
    int64_t first;      /* the first row of step t on the tape */
    int skips_W;        /* h is 0 and W finite: the product W h is left out */
    const float *h, *c; /* the state before, [rows, hidden], or NULL: zeros */
    float *c_here;      /* where c of step t goes */
} place;

INLINE vec before(const float *state, int64_t at, int count) {
    return state ? load(state + at, count) : (vec){0};
}

/* U x + b at LANES columns from `at` on: z without the product W h. */
INLINE vec input_part(const layer *l, const float *z, int64_t at, int count) {
    const vec x = load(z + at, count);
    return adds_b(l) ? x + load(l->b + at, count) : x;
}

INLINE void rnn_forward(const layer *l, place p, int64_t row, int64_t j, int count, const vec *a,
                        const float *z) {
    float *h = l->h + (p.first + row) * l->hidden + j;
    store(h, activate(l->candidate, input_part(l, z, j, count) + a[0]), count);
}

INLINE void lstm_forward(const layer *l, place p, int64_t row, int64_t j, int count, const vec *a,
                         const float *z) {
    const int64_t H = l->hidden;
    float *gates = l->gates + (p.first + row) * l->stride + j;
    vec i = activate(l->gate, input_part(l, z, j, count) + a[0]);
    vec f = activate(l->gate, input_part(l, z, j + H, count) + a[1]);
    vec g = activate(l->candidate, input_part(l, z, j + 2 * H, count) + a[2]);
    vec o = activate(l->gate, input_part(l, z, j + 3 * H, count) + a[3]);
    vec c = f * before(p.c, row * H + j, count) + i * g;
    if (l->gates)
        store(gates, i, count), store(gates + H, f, count), store(gates + 2 * H, g, count),
            store(gates + 3 * H, o, count);
    store(p.c_here + row * H + j, c, count);
    store(l->h + (p.first + row) * H + j, o * activate(l->output, c), count);
}

/* `inputs`: the part of U x that is not in z, for the gate n, whose W h is kept apart. */
INLINE void gru_forward(const layer *l, place p, int64_t row, int64_t j, int count, const vec *a,
                        const float *z, vec inputs) {
    const int64_t H = l->hidden, here = (p.first + row) * H + j;
    float *gates = l->gates + (p.first + row) * l->stride + j;
    vec r = activate(l->gate, input_part(l, z, j, count) + a[0]);
    /* The update gate, z of core/cells.py. */
    vec u = activate(l->gate, input_part(l, z, j + H, count) + a[1]);
    vec q = l->b_W ? a[2] + load(l->b_W + j, count) : a[2];
    vec n = activate(l->candidate, input_part(l, z, j + 2 * H, count) + inputs + r * q);
    vec h = before(p.h, row * H + j, count);
    if (l->gates)
        store(gates, r, count), store(gates + H, u, count), store(gates + 2 * H, n, count),
            store(l->q + here, q, count);
    store(l->h + here, n + u * (h - n), count);
}

/* Given dh, all of dE/dh_t, each writes dz, and to l->dh the part of dE/dh_{t-1} that does not go
 * through W. */

INLINE void rnn_backward(const layer *l, place p, int64_t row, int64_t j, int count, vec dh) {
    const int64_t here = (p.first + row) * l->hidden + j;
    store(l->dz + (p.first + row) * l->stride + j,
          dh * derivative(l->candidate, load(l->h + here, count)), count);
    store(l->dh + row * l->hidden + j, (vec){0}, count);
}

INLINE void lstm_backward(const layer *l, place p, int64_t row, int64_t j, int count, vec dh) {
    const int64_t H = l->hidden, own = row * H + j, wide = (p.first + row) * l->stride + j;
    const float *gates = l->gates + wide;
    vec i = load(gates, count), f = load(gates + H, count), g = load(gates + 2 * H, count);
    vec o = load(gates + 3 * H, count),
        s = activate(l->output, load(l->c + (p.first + row) * H + j, count));
    vec dc = load(l->dc + own, count) + dh * o * derivative(l->output, s);
    float *dz = l->dz + wide;
    store(dz, dc * g * derivative(l->gate, i), count);
    store(dz + H, dc * before(p.c, own, count) * derivative(l->gate, f), count);
    store(dz + 2 * H, dc * i * derivative(l->candidate, g), count);
    store(dz + 3 * H, dh * s * derivative(l->gate, o), count);
    store(l->dc + own, dc * f, count);
    store(l->dh + own, (vec){0}, count);
}

INLINE void gru_backward(const layer *l, place p, int64_t row, int64_t j, int count, vec dh) {
    const int64_t H = l->hidden, own = row * H + j, here = (p.first + row) * H + j;
    const int64_t wide = (p.first + row) * l->stride + j;
    const float *gates = l->gates + wide;
    vec r = load(gates, count), u = load(gates + H, count), n = load(gates + 2 * H, count);
    vec carried = dh * u, dn = (dh - carried) * derivative(l->candidate, n);
    vec du = dh * (before(p.h, own, count) - n) * derivative(l->gate, u);
    vec dr = dn * load(l->q + here, count) * derivative(l->gate, r);
    float *dz = l->dz + wide;
    store(dz, dr, count), store(dz + H, du, count), store(dz + 2 * H, dn, count);
    store(l->dq + here, dn * r, count);
    store(l->dh + own, carried, count);
}

/* ---- any cell ---- */

/* U x + b of the row `at` of the tape, before W h is added; without a tape b alone; U x alone where
   `adds_b`. */
static const float *preactivation(const layer *l, layout o, int64_t at) {
    if (l->table_rows) return l->table + l->table_rows[at] * l->stride;
    return l->gates ? l->gates + at * l->stride : packed_b(l, o);
}

INLINE void units_forward(const layer *l, place p, int64_t row, int64_t j, const vec *a,
                          const float *z, vec inputs) {
    const int count = valid(l, j);
    if (l->cell == LSTM) lstm_forward(l, p, row, j, count, a, z);
    else if (l->cell == GRU) gru_forward(l, p, row, j, count, a, z, inputs);
    else rnn_forward(l, p, row, j, count, a, z);
}

static void units_backward(const layer *l, place p, int64_t row, int64_t j, vec through_W) {
    const int count = valid(l, j);
    const int64_t here = (p.first + row) * l->hidden + j;
    vec dh = through_W + load(l->dh + row * l->hidden + j, count) + load(l->dout + here, count);
    if (l->cell == LSTM) lstm_backward(l, p, row, j, count, dh);
    else if (l->cell == GRU) gru_backward(l, p, row, j, count, dh);
    else rnn_backward(l, p, row, j, count, dh);
}

/* Where step t and the one before are, given the first row of step t. */
static place place_backward(const layer *l, int64_t t, int64_t here) {
    if (t <= 0) return (place){.first = here, .h = l->h_start, .c = l->c_start};
    const int64_t before = (here - l->sizes[t - 1]) * l->hidden;
    return (place){.first = here, .h = l->h + before, .c = l->c ? l->c + before : NULL};
}

#endif
