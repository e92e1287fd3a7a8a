/* One layer of a recurrent network over a whole sequence, forward and back, in float32.

   The equations are those of core/cells.py and the derivation is in core/bptt.py; core/kernel.py compiles this file,
   core/compiled.py calls it. What makes it fast: the weights are laid out once in the order in which they are read
   (`prepare`); a tile of rows times a panel of weights is summed up in registers (product.h) and goes through the
   cell's equations as soon as it is complete, while it is still there; and a thread takes its own sequences through all
   steps, so that threads never wait for each other. Of a few sequences, instead, every thread takes some hidden units,
   and waits for the others after each step. A single sequence reads W as it lies, where it is large. The vectors are
   those of the compiler (GCC, Clang), as wide as the machine's.

   Memory: step t holds sizes[t] rows, sizes falling with t; all steps lie one after another. Gates are stacked as in
   core/cells.py. The order in which a sum over hidden units is taken depends neither on the number of threads nor, from
   two sequences on, on the batch: nor do its bits. (U x of few rows is found here, of many by a library.) */

#include "activations.h"
#include "few.h"
#include "layer.h"

/* ---- the cells: one row, LANES units from unit j on, the recurrent product being known ---------------------- */

typedef struct { /* where the rows of step t and of the step before lie */
    int64_t first;            /* the first row of step t on the tape */
    int rests;                /* h is 0 all over: W has no part in step t */
    const float *h, *c;       /* the state before, [rows, hidden], or NULL: zeros */
    float *c_here;            /* where c of step t goes */
} place;

INLINE vec before(const float *state, int64_t at, int count) { return state ? load(state + at, count) : (vec){0}; }

INLINE void rnn_forward(const layer *l, place p, int64_t row, int64_t j, int count, const vec *a, const float *z) {
    float *h = l->h + (p.first + row) * l->hidden + j;
    store(h, activate(l->candidate, load(z + j, count) + a[0]), count);
}

INLINE void lstm_forward(const layer *l, place p, int64_t row, int64_t j, int count, const vec *a, const float *z) {
    const int64_t H = l->hidden;
    float *gates = l->gates + (p.first + row) * l->stride + j;
    vec i = activate(l->gate, load(z + j, count) + a[0]);
    vec f = activate(l->gate, load(z + j + H, count) + a[1]);
    vec g = activate(l->candidate, load(z + j + 2 * H, count) + a[2]);
    vec o = activate(l->gate, load(z + j + 3 * H, count) + a[3]);
    vec c = f * before(p.c, row * H + j, count) + i * g;
    if (l->gates)
        store(gates, i, count), store(gates + H, f, count),
        store(gates + 2 * H, g, count), store(gates + 3 * H, o, count);
    store(p.c_here + row * H + j, c, count);
    store(l->h + (p.first + row) * H + j, o * activate(l->output, c), count);
}

/* `inputs`: what of U x there is beside z, of the gate n, for which W h is kept apart. */
INLINE void gru_forward(const layer *l, place p, int64_t row, int64_t j, int count, const vec *a, const float *z,
                        vec inputs) {
    const int64_t H = l->hidden, here = (p.first + row) * H + j;
    float *gates = l->gates + (p.first + row) * l->stride + j;
    vec r = activate(l->gate, load(z + j, count) + a[0]);
    vec u = activate(l->gate, load(z + j + H, count) + a[1]); /* the update gate */
    vec q = l->b_W ? a[2] + load(l->b_W + j, count) : a[2];
    vec n = activate(l->candidate, load(z + j + 2 * H, count) + inputs + r * q);
    vec h = before(p.h, row * H + j, count);
    if (l->gates)
        store(gates, r, count), store(gates + H, u, count),
        store(gates + 2 * H, n, count), store(l->q + here, q, count);
    store(l->h + here, n + u * (h - n), count);
}

/* dh: all of dE/dh_t. Each leaves dz, and in l->dh the part of dE/dh_{t-1} that does not go through W. */

INLINE void rnn_backward(const layer *l, place p, int64_t row, int64_t j, int count, vec dh) {
    const int64_t here = (p.first + row) * l->hidden + j;
    store(l->dz + (p.first + row) * l->stride + j, dh * slope(l->candidate, load(l->h + here, count)), count);
    store(l->dh + row * l->hidden + j, (vec){0}, count);
}

INLINE void lstm_backward(const layer *l, place p, int64_t row, int64_t j, int count, vec dh) {
    const int64_t H = l->hidden, own = row * H + j, wide = (p.first + row) * l->stride + j;
    const float *gates = l->gates + wide;
    vec i = load(gates, count), f = load(gates + H, count), g = load(gates + 2 * H, count);
    vec o = load(gates + 3 * H, count), s = activate(l->output, load(l->c + (p.first + row) * H + j, count));
    vec dc = load(l->dc + own, count) + dh * o * slope(l->output, s);
    float *dz = l->dz + wide;
    store(dz, dc * g * slope(l->gate, i), count);
    store(dz + H, dc * before(p.c, own, count) * slope(l->gate, f), count);
    store(dz + 2 * H, dc * i * slope(l->candidate, g), count);
    store(dz + 3 * H, dh * s * slope(l->gate, o), count);
    store(l->dc + own, dc * f, count);
    store(l->dh + own, (vec){0}, count);
}

INLINE void gru_backward(const layer *l, place p, int64_t row, int64_t j, int count, vec dh) {
    const int64_t H = l->hidden, own = row * H + j, here = (p.first + row) * H + j;
    const int64_t wide = (p.first + row) * l->stride + j;
    const float *gates = l->gates + wide;
    vec r = load(gates, count), u = load(gates + H, count), n = load(gates + 2 * H, count);
    vec carried = dh * u, dn = (dh - carried) * slope(l->candidate, n);
    vec du = dh * (before(p.h, own, count) - n) * slope(l->gate, u);
    vec dr = dn * load(l->q + here, count) * slope(l->gate, r);
    float *dz = l->dz + wide;
    store(dz, dr, count), store(dz + H, du, count), store(dz + 2 * H, dn, count);
    store(l->dq + here, dn * r, count);
    store(l->dh + own, carried, count);
}

/* ---- forward ------------------------------------------------------------------------------------------------- */

/* U x + b of the row `at` of the tape, before W h is added; with no tape b alone. */
static const float *preactivation(const layer *l, layout o, int64_t at) {
    if (l->numbers) return l->table + l->numbers[at] * l->stride;
    return l->gates ? l->gates + at * l->stride : packed_b(l, o);
}

static void forward_tile(const layer *l, layout o, place p, int64_t row, int rows, int64_t number) {
    const int64_t H = l->hidden, at = p.first + row, j = number * o.together * LANES;
    const int wide = width(o, number), whole = l->x && !l->gates;
    vec sums[ROWS][4], inputs[ROWS], *all = &sums[0][0];
    lines soon;
    soon.count = 0;
    for (int r = 0; r < rows && !whole && !o.direct; r++) {
        const float *z = preactivation(l, o, at + r);
        for (int v = 0; v < wide; v++) ask(&soon, z + (v % o.gates) * H + j + (v / o.gates) * LANES);
        if (l->cell != RNN) ask(&soon, l->h + (at + r) * H + j);
        if (l->cell != RNN) ask(&soon, l->cell == LSTM ? p.c_here + (row + r) * H + j : l->q + (at + r) * H + j);
    }
    if (whole) {
        const panel weights = packed_panel(packed_U(l, o), o, l->input, number);
        product(rows, wide, l->x + at * l->input, l->input, weights, l->input, sums, 0, &soon);
    }
    for (int r = 0; r < rows && l->cell == GRU; r++) {
        inputs[r] = whole ? sums[r][2] : (vec){0};
        sums[r][2] = (vec){0};
    }
    if (p.rests && !whole) memset(sums, 0, sizeof sums);
    else if (o.direct)
        for (int v = 0; v < wide; v++) {
            const int64_t unit = j + v / o.gates * LANES;
            all[v] = dots(1, p.h, H, l->W + (v % o.gates * H + unit) * H, H, valid(l, unit), H);
        }
    else if (!p.rests) product(rows, wide, p.h + row * H, H, panel_of(l, o, number), H, sums, whole, &soon);
    for (int r = 0; r < rows; r++) {
        const float *z = preactivation(l, o, at + r);
        for (int v = 0; v < wide; v += o.gates) {
            const int64_t unit = j + v / o.gates * LANES;
            const int count = valid(l, unit);
            if (l->cell == LSTM) lstm_forward(l, p, row + r, unit, count, all + 4 * r + v, z);
            else if (l->cell == GRU) gru_forward(l, p, row + r, unit, count, all + 4 * r + v, z, inputs[r]);
            else rnn_forward(l, p, row + r, unit, count, all + 4 * r + v, z);
        }
    }
}

/* What comes before the first step. */
static void prepare(const layer *l, const member *m) {
    const layout o = layout_of(l, 0);
    const slice mine = panels_of(o, m);
    int64_t rows = 0;
    for (int64_t t = 0; t < l->until; t++) rows += l->sizes[t];
    for (int64_t number = mine.panel; number < mine.panels; number++) {
        if (!o.direct) pack_forward(l, o, l->W, l->hidden, l->packed, number);
        if (l->x && !l->gates) pack_forward(l, o, l->U, l->input, packed_U(l, o), number);
        for (int v = 0; v < width(o, number) && l->x && l->gates; v++) {
            const int64_t j = (number * o.together + v / o.gates) * LANES;
            project(l, rows, v % o.gates * l->hidden + j, valid(l, j));
        }
    }
    for (int64_t i = 0; i < o.gates * l->hidden && l->x && !l->gates && m->me == 0; i++)
        packed_b(l, o)[i] = l->b ? l->b[i] : 0;
}

/* Copies the last state of each sequence. */
static void finish(const layer *l, slice s) {
    const int64_t H = l->hidden;
    for (int64_t t = 0, first = 0; t < l->until; first += l->sizes[t++]) {
        const int64_t later = t + 1 < l->until ? l->sizes[t + 1] : 0, end = least(s.hi, l->sizes[t]);
        for (int64_t row = later > s.lo ? later : s.lo; row < end; row++) {
            memcpy(l->h_end + row * H, l->h + (first + row) * H, 4 * H);
            if (l->c) memcpy(l->c_end + row * H, l->c + (first + row) * H, 4 * H);
        }
    }
}

static void forward_steps(const layer *l, member *m) {
    const layout o = layout_of(l, 0);
    const slice s = slice_of(l, o, m);
    place p = {0, l->from == 0, l->h_start, l->c_start, l->c ? l->c : l->c_end};
    p.rests = p.rests && at_rest(p.h ? p.h + s.lo * l->hidden : NULL, (s.hi - s.lo) * l->hidden);
    for (int64_t t = 0; t < l->until; t++) {
        const int64_t end = least(s.hi, l->sizes[t]);
        const int height = tile_rows(end - s.lo);
        for (int64_t number = t < l->from ? s.panels : s.panel; number < s.panels; number++)
            for (int64_t row = s.lo; row < end; row += height)
                forward_tile(l, o, p, row, (int)least(height, end - row), number);
        p.h = l->h + p.first * l->hidden, p.c = p.c_here;
        p.first += l->sizes[t], p.rests = 0;
        if (l->c) p.c_here += l->sizes[t] * l->hidden;
        if (t >= l->from && shared(l)) meet(m);
    }
    if (l->h_end && (!shared(l) || m->me == 0)) finish(l, s);
}

/* ---- back ---------------------------------------------------------------------------------------------------- */

static void backward_units(const layer *l, place p, int64_t row, int64_t j, vec through_W) {
    const int count = valid(l, j);
    const int64_t here = (p.first + row) * l->hidden + j;
    vec dh = through_W + load(l->dh + row * l->hidden + j, count) + load(l->dout + here, count);
    if (l->cell == LSTM) lstm_backward(l, p, row, j, count, dh);
    else if (l->cell == GRU) gru_backward(l, p, row, j, count, dh);
    else rnn_backward(l, p, row, j, count, dh);
}

/* dz W (of the GRU: (dr dz dq) W) for rows that go on at the step whose first row is `first`. */
static void through_weights(const layer *l, layout o, int64_t first, int64_t row, int rows, int64_t number,
                            vec (*sums)[4], const lines *soon) {
    const int64_t H = l->hidden, depth = l->cell == GRU ? 2 * H : o.depth;
    const int wide = width(o, number);
    panel weights = panel_of(l, o, number);
    const float *dz = l->dz + (first + row) * l->stride, *dq = l->dq + (first + row) * H;
    if (o.alone) product_of_row(wide / 4, dz, weights, depth, sums, 0, soon);
    else product(rows, wide, dz, l->stride, weights, depth, sums, 0, soon);
    weights.at += depth * weights.stride;
    if (l->cell != GRU) return;
    if (o.alone) product_of_row(wide / 4, dq, weights, H, sums, 1, soon);
    else product(rows, wide, dq, H, weights, H, sums, 1, soon);
}

/* What step t reads and writes at these units. */
static void ask_backward(const layer *l, layout o, place p, int64_t row, int rows, int64_t number, lines *soon) {
    const int64_t H = l->hidden;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < width(o, number); v++) {
            const int64_t j = (number * o.together + v) * LANES, at = p.first + row + r;
            for (int64_t g = 0; g < o.depth; g += H) ask(soon, l->dz + at * l->stride + g + j);
            ask(soon, l->dout + at * H + j);
            if (l->cell != RNN) ask(soon, (l->cell == LSTM ? l->c : l->q) + at * H + j);
            if (l->cell == LSTM && p.c) ask(soon, p.c + (row + r) * H + j);
        }
}

static void backward_steps(const layer *l, member *m) {
    const layout o = layout_of(l, 1);
    const slice s = slice_of(l, o, m);
    const int64_t H = l->hidden;
    int64_t first = 0, later = 0; /* the first row of the step after, and how many rows it has */
    for (int64_t t = 0; t < l->until; t++) first += l->sizes[t];
    for (int64_t t = l->until - 1; t >= (l->asked ? -1 : 0); t--) {
        const int64_t here = t < 0 ? 0 : first - l->sizes[t], end = t < 0 ? s.lo : least(s.hi, l->sizes[t]);
        const int64_t before = t > 0 ? here - l->sizes[t - 1] : 0;
        const place p = {here, 0, t > 0 ? l->h + before * H : l->h_start, t > 0 ? l->c + before * H : l->c_start, NULL};
        const int height = tile_rows(later - s.lo);
        for (int64_t number = s.panel; number < s.panels; number++) {
            const int wide = width(o, number);
            for (int64_t row = s.lo; row < later; row += height) { /* those that go on after step t */
                const int rows = (int)least(height, later - row);
                vec sums[ROWS][4];
                lines soon;
                soon.count = 0;
                if (t >= 0) ask_backward(l, o, p, row, rows, number, &soon);
                through_weights(l, o, first, row, rows, number, sums, &soon);
                for (int r = 0; r < rows; r++)
                    for (int v = 0; v < wide; v++) {
                        const int64_t j = (number * o.together + v) * LANES;
                        float *dh = l->dh + (row + r) * H + j;
                        const vec sum = o.alone ? sums[v / 4][v % 4] : sums[r][v];
                        if (t >= 0) backward_units(l, p, row + r, j, sum);
                        else store(dh, load(dh, valid(l, j)) + sum, valid(l, j));
                    }
            }
            for (int64_t row = later > s.lo ? later : s.lo; row < end; row++) /* those that end with step t */
                for (int v = 0; v < wide; v++) backward_units(l, p, row, (number * o.together + v) * LANES, (vec){0});
        }
        first = here, later = end;
        if (shared(l)) meet(m);
    }
}

/* -------------------------------------------------------------------------------------------------------------- */

static void work(void *argument) {
    job *j = argument;
    const layer *l = j->l;
    member m = {j, j->many ? l->number() : 0, j->many ? l->team() : 1, 0};
#ifdef __SSE__
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040); /* numbers below 1e-38 count as 0: a vanishing gradient would cost 100 times as much */
#endif
    if (j->back) {
        const layout o = layout_of(l, 1);
        const slice mine = panels_of(o, &m);
        for (int64_t number = mine.panel; number < mine.panels && !o.direct; number++) pack_backward(l, o, number);
        meet(&m);
        backward_steps(l, &m);
        meet(&m);
        gradients(l, &m);
    } else {
        if (l->from == 0) prepare(l, &m), meet(&m);
        forward_steps(l, &m);
    }
#ifdef __SSE__
    _mm_setcsr(mode);
#endif
}

static void run(const layer *l, int back) {
    const int64_t threads = least(MOST_THREADS, shared(l) ? l->threads : least(l->threads, l->sizes[l->from]));
    job j = {l, back, l->fork && threads > 1, {{0}}};
    if (j.many) l->fork(work, &j, (unsigned)threads, 0);
    else work(&j);
}

void forward(const layer *l) { run(l, 0); }

void backward(const layer *l) {
    const size_t size = sizeof(float) * (size_t)(l->sizes[0] * l->hidden);
    if (l->fresh) memset(l->dh, 0, size);
    if (l->fresh && l->cell == LSTM) memset(l->dc, 0, size);
    run(l, 1);
}
