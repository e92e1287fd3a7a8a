/* One layer of a recurrent network over a whole sequence, forward and back, in float32.

   The equations are those of core/cells.py and the derivation is in core/bptt.py; core/compiled.py compiles this
   file and calls it. What makes it fast: the weights are laid out once in the order in which they are read
   (`pack`); a tile of rows times a panel of weights is summed up in registers (product.h) and goes through the
   cell's equations as soon as it is complete, while it is still there; and a thread takes its own sequences
   through all steps, so that threads never wait for each other. Of a few sequences, instead, every thread takes some
   hidden units, and waits for the others after each step. A single sequence reads W as it lies. The vectors are those
   of the compiler (GCC, Clang), as wide as the machine's.

   Memory: step t holds sizes[t] rows, sizes falling with t; all steps lie one after another. Gates are stacked
   as in core/cells.py. The order in which a sum is taken depends neither on the number of threads nor, from two
   sequences on, on the batch: nor do the bits. */

#define _GNU_SOURCE /* sched_yield */

#include <sched.h>
#include <stdint.h>
#ifdef __SSE__
#include <immintrin.h>
#endif

#include "product.h"

enum cell { RNN, LSTM, GRU };
enum activation { TANH, SIGMOID, RELU, IDENTITY };

typedef struct { /* the fields of core/compiled.py, in its order */
    int64_t cell, gate, candidate, output; /* activations: sigma_g, sigma_c (of the RNN: sigma), sigma_h */
    int64_t hidden, input, threads;
    int64_t stride;       /* floats from row to row of gates, dz and table */
    int64_t from, until;  /* the steps to take; back: all, that is 0 and their number */
    int64_t asked;        /* back: 1 if dE/d(first state) is asked for */
    const int64_t *sizes; /* [until], falling */
    void (*fork)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel, or NULL */
    int (*team)(void);                                          /* omp_get_num_threads, or NULL */
    const float *W, *b_W;   /* [gates * hidden, hidden]; b_W [hidden] or NULL */
    float *packed;          /* room for all weights, aligned to 64 bytes: see core/compiled.py */
    float *gates, *c, *q, *h; /* the tape; of the RNN, gates are h; no gates: only h is left, and c at c_end */
    const int64_t *numbers; /* [rows]: the row of `table` that is a step's U x + b; or NULL: it lies in `gates` */
    const float *table;
    const float *x, *U, *b; /* x [rows, input] or NULL: U x + b is to be found here; b [gates * hidden] or NULL */
    float *h_end, *c_end;     /* each sequence's last state [sizes[0], hidden], or NULL */
    const float *h_start, *c_start; /* NULL: zeros */
    const float *dout; /* back: dE/dh of each row, directly */
    float *dh, *dc;    /* back: from dE/d(final state) to dE/d(first state), [sizes[0], hidden] */
    float *dz, *dq;    /* back: the gradients of the preactivations, may be gates and q themselves */
    float *dx, *dU, *dW, *db, *db_W; /* back: what is to be found of them, or NULL */
} layer;

/* ---- vectors and activations ------------------------------------------------------------------------------ */

INLINE vec within(vec x, vec limit) { /* -limit <= x <= limit; NaN stays NaN */
#ifdef __AVX512F__
    return (vec)_mm512_max_ps((__m512)-limit, _mm512_min_ps((__m512)limit, (__m512)x));
#else
    x = choose(x > limit, limit, x);
    return choose(x < -limit, -limit, x);
#endif
}

/* e^x = 2^n (1 + p) with p = e^r - 1, |r| <= ln(2) / 2; p by a polynomial, relative error 2e-8. */
INLINE vec exponential(vec x, vec limit, vec *power) {
    x = within(x, limit);
    const float magic = 12582912; /* 1.5 * 2^23: adding it rounds to an integer, found in the lowest bits */
    vec n = x * 1.44269504f + magic;
    *power = (vec)(((ints)n << 23) + 0x3f800000);
    n -= magic;
    vec r = x - n * 0.693145752f - n * 1.42860677e-6f; /* ln 2 in two parts */
    vec p = 0.0013882762f * r + 0.008366535f;
    p = p * r + 0.041667197f;
    p = p * r + 0.16666543f;
    p = p * r + 0.49999997f;
    return p * r * r + r;
}

INLINE vec sigmoid(vec x) { /* 1 / (1 + e^-x) */
    vec power, p = exponential(-x, (vec){0} + 87, &power);
    return 1 / (1 + (power + power * p));
}

INLINE vec tangent(vec x) { /* tanh x = m / (m + 2), m = e^2x - 1: exact to the last bits for small x too */
    vec power, p = exponential(2 * x, (vec){0} + 20, &power);
    vec m = (power - 1) + power * p;
    return m / (m + 2);
}

INLINE vec activate(int64_t sigma, vec z) {
    switch (sigma) {
    case TANH: return tangent(z);
    case SIGMOID: return sigmoid(z);
    case RELU: return choose(z < 0, (vec){0}, z);
    default: return z;
    }
}

INLINE vec slope(int64_t sigma, vec y) { /* sigma' as a function of y = sigma(z) */
    switch (sigma) {
    case TANH: return 1 - y * y;
    case SIGMOID: return y * (1 - y);
    case RELU: return choose(y > 0, (vec){0} + 1, (vec){0});
    default: return (vec){0} + 1;
    }
}

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
        store(gates, i, count), store(gates + H, f, count), store(gates + 2 * H, g, count), store(gates + 3 * H, o, count);
    store(p.c_here + row * H + j, c, count);
    store(l->h + (p.first + row) * H + j, o * activate(l->output, c), count);
}

/* `inputs`: what of U x there is beside z, of the gate n, for which W h is kept apart. */
INLINE void gru_forward(const layer *l, place p, int64_t row, int64_t j, int count, const vec *a, const float *z, vec inputs) {
    const int64_t H = l->hidden, here = (p.first + row) * H + j;
    float *gates = l->gates + (p.first + row) * l->stride + j;
    vec r = activate(l->gate, load(z + j, count) + a[0]);
    vec u = activate(l->gate, load(z + j + H, count) + a[1]); /* the update gate */
    vec q = l->b_W ? a[2] + load(l->b_W + j, count) : a[2];
    vec n = activate(l->candidate, load(z + j + 2 * H, count) + inputs + r * q);
    vec h = before(p.h, row * H + j, count);
    if (l->gates)
        store(gates, r, count), store(gates + H, u, count), store(gates + 2 * H, n, count), store(l->q + here, q, count);
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
    vec du = dh * (before(p.h, own, count) - n) * slope(l->gate, u), dr = dn * load(l->q + here, count) * slope(l->gate, r);
    float *dz = l->dz + wide;
    store(dz, dr, count), store(dz + H, du, count), store(dz + 2 * H, dn, count);
    store(l->dq + here, dn * r, count);
    store(l->dh + own, carried, count);
}

/* ---- weights in the order in which they are read -------------------------------------------------------------- */

/* A panel is up to 4 vectors of columns wide: forward LANES units and their gates, of the RNN and back 4 * LANES
   units. `blocks` of LANES units there are, the last one filled up with zeros. Back, the rows of W are in order
   already: a batch so small that a step reads them once takes them as they lie (`direct`). Forward a single sequence
   does, with sums over k instead of over rows of columns. */
typedef struct { int64_t blocks, panels, depth; int gates, together, direct, alone; } layout;

enum {
    DIRECT = 128,        /* units from which on a single sequence takes W as it lies */
    SHARED = 6,          /* sequences up to which threads share out the units of a step */
    ENOUGH = 1 << 16,    /* weights from which on that pays */
    MOST_ALONE = ROWS < 4 ? ROWS : 4 /* panels of which a single sequence's sums fit the registers */
};

static layout layout_of(const layer *l, int back) {
    layout o = {.blocks = (l->hidden + LANES - 1) / LANES, .gates = l->cell == RNN ? 1 : l->cell == LSTM ? 4 : 3};
    o.depth = back ? o.gates * l->hidden : l->hidden;
    if (back) o.gates = 1;
    o.together = o.gates == 1 ? 4 : 1;
    o.direct = back ? l->hidden % LANES == 0 && l->sizes[0] <= ROWS * l->threads : l->sizes[0] == 1 && l->hidden >= DIRECT;
    o.alone = back && o.direct && l->sizes[0] == 1 && o.blocks % 4 == 0;
    if (o.alone) { /* several panels side by side, for a sum waits for itself: as many as leave some to every thread */
        const int64_t most = o.blocks / 4 / l->threads;
        o.together *= most < 1 ? 1 : (int)least(most, MOST_ALONE);
    }
    o.panels = (o.blocks + o.together - 1) / o.together;
    return o;
}

static int width(layout o, int64_t panel) { /* in vectors */
    int64_t left = o.blocks - panel * o.together;
    return o.gates * (int)(left < o.together ? left : o.together);
}

static int64_t packed_size(layout o, int64_t depth) { return o.blocks * LANES * o.gates * depth; }

static panel packed_panel(float *packed, layout o, int64_t depth, int64_t number) {
    return (panel){packed + number * o.together * o.gates * LANES * depth, width(o, number) * LANES};
}

static panel panel_of(const layer *l, layout o, int64_t number) {
    if (o.direct) return (panel){l->W + number * o.together * LANES, l->hidden};
    return packed_panel(l->packed, o, o.depth, number);
}

static int valid(const layer *l, int64_t j) { return l->hidden - j < LANES ? (int)(l->hidden - j) : LANES; }

static float *packed_U(const layer *l, layout o) { return l->packed + packed_size(o, l->hidden); }
static float *packed_b(const layer *l, layout o) { return packed_U(l, o) + packed_size(o, l->input); }

/* A panel of U or W, [gates * hidden, depth], forward: rows become columns. */
static void pack_forward(const layer *l, layout o, const float *matrix, int64_t depth, float *packed, int64_t number) {
    const panel to = packed_panel(packed, o, depth, number);
    for (int v = 0; v < width(o, number); v++) {
        const int64_t j = (number * o.together + v / o.gates) * LANES;
        const float *from = matrix + (v % o.gates * l->hidden + j) * depth;
        for (int64_t k = 0; k < depth; k += LANES) {
            const int count = (int)least(LANES, depth - k);
            vec row[LANES];
            for (int i = 0; i < LANES; i++) row[i] = i < valid(l, j) ? load(from + i * depth + k, count) : (vec){0};
            transpose(LANES, row);
            for (int i = 0; i < count; i++) store((float *)to.at + (k + i) * to.stride + v * LANES, row[i], LANES);
        }
    }
}

static void pack_backward(const layer *l, layout o, int64_t number) {
    const panel to = packed_panel(l->packed, o, o.depth, number);
    for (int v = 0; v < width(o, number); v++) {
        const int64_t j = (number * o.together + v) * LANES;
        for (int64_t k = 0; k < o.depth; k++)
            store((float *)to.at + k * to.stride + v * LANES, load(l->W + k * l->hidden + j, valid(l, j)), LANES);
    }
}

/* ---- a team of threads --------------------------------------------------------------------------------------- */

typedef struct { const layer *l; int back, next; int64_t arrived; } job;
typedef struct { job *job; int me, team; int64_t met; } member;

/* Waits until the whole team has come here. */
static void meet(member *m) {
    if (m->team == 1) return;
    m->met += m->team;
    __atomic_fetch_add(&m->job->arrived, 1, __ATOMIC_ACQ_REL);
    for (int64_t looks = 0; __atomic_load_n(&m->job->arrived, __ATOMIC_ACQUIRE) < m->met; looks++) {
#ifdef __SSE__
        _mm_pause();
#endif
        if (looks > 1000) sched_yield();
    }
}

/* Whether each takes some of the units, and not of the sequences: of these there are few, and much to do for each. */
static int shared(const layer *l) {
    return l->sizes[l->from] <= SHARED && layout_of(l, 1).depth * l->hidden >= ENOUGH;
}

typedef struct { int64_t lo, hi, panel, next; } slice; /* sequences, lo <= row < hi; the first panel, how far the next */

/* The first row of part `part`: every part has about as many (row, step) pairs. */
static int64_t cut(const layer *l, int64_t part, int64_t parts) {
    int64_t total = 0, row = 0, sum = 0;
    for (int64_t t = l->from; t < l->until; t++) total += l->sizes[t];
    for (int64_t t = l->until; sum * parts < total * part; row++) { /* row lives until step t */
        while (t > l->from && l->sizes[t - 1] <= row) t--;
        sum += t - l->from;
    }
    return row;
}

static slice slice_of(const layer *l, const member *m) {
    if (shared(l)) return (slice){0, l->sizes[l->from], m->me, m->team};
    return (slice){cut(l, m->me, m->team), cut(l, m->me + 1, m->team), 0, 1};
}

/* ---- forward ------------------------------------------------------------------------------------------------- */

static int tile_rows(int64_t rows) { /* tiles of like heights */
    int64_t tiles = (rows + ROWS - 1) / ROWS;
    return tiles ? (int)((rows + tiles - 1) / tiles) : 1;
}

/* U x + b of the row `at` of the tape, before W h is added; with no tape b alone. */
static const float *preactivation(const layer *l, layout o, int64_t at) {
    if (l->numbers) return l->table + l->numbers[at] * l->stride;
    return l->gates ? l->gates + at * l->stride : packed_b(l, o);
}

static void forward_tile(const layer *l, layout o, place p, int64_t row, int rows, int64_t number) {
    const int64_t H = l->hidden, at = p.first + row, j = number * o.together * LANES;
    const int wide = width(o, number), whole = l->x && !l->gates;
    vec sums[ROWS][4], inputs[ROWS];
    lines soon;
    soon.count = 0;
    for (int r = 0; r < rows && !whole; r++) {
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
            sums[0][v] = dots(1, p.h, H, l->W + (v % o.gates * H + unit) * H, H, valid(l, unit), H);
        }
    else if (!p.rests) product(rows, wide, p.h + row * H, H, panel_of(l, o, number), H, sums, whole, &soon);
    for (int r = 0; r < rows; r++) {
        const float *z = preactivation(l, o, at + r);
        for (int v = 0; v < wide; v += o.gates) {
            const int64_t unit = j + v / o.gates * LANES;
            const int count = valid(l, unit);
            if (l->cell == LSTM) lstm_forward(l, p, row + r, unit, count, sums[r], z);
            else if (l->cell == GRU) gru_forward(l, p, row + r, unit, count, sums[r], z, inputs[r]);
            else rnn_forward(l, p, row + r, unit, count, sums[r] + v, z);
        }
    }
}

/* LANES columns of U x + b of few rows, U as it lies: 4 rows at a time, and those left over one by one. */
static void project(const layer *l, int64_t rows, int64_t column) {
    const int64_t M = l->input;
    const int columns = (int)least(LANES, layout_of(l, 1).depth - column), some = LANES / 4;
    const vec b = l->b ? load(l->b + column, columns) : (vec){0};
    int64_t row = 0;
    for (float *z = l->gates + column; row < rows; z = l->gates + row * l->stride + column) {
        const float *x = l->x + row * M, *U = l->U + column * M;
        vec sums[4] = {{0}};
        const int together = row + 4 <= rows ? 4 : 1;
        if (together == 4) {
            for (int c = 0; c < 4 && c * some < columns; c++)
                sums[c] = dots(4, x, M, U + c * some * M, M, columns - c * some, M);
            transpose(4, sums);
        } else sums[0] = dots(1, x, M, U, M, columns, M);
        for (int r = 0; r < together; r++) store(z + r * l->stride, sums[r] + b, columns);
        row += together;
    }
}

/* What comes before the first step. */
static void prepare(const layer *l, const member *m) {
    const layout o = layout_of(l, 0);
    const int64_t columns = o.gates * l->hidden;
    for (int64_t number = m->me; number < o.panels && !o.direct; number += m->team)
        pack_forward(l, o, l->W, l->hidden, l->packed, number);
    if (!l->x) return;
    if (!l->gates) {
        for (int64_t number = m->me; number < o.panels; number += m->team)
            pack_forward(l, o, l->U, l->input, packed_U(l, o), number);
        for (int64_t i = 0; i < columns && m->me == 0; i++) packed_b(l, o)[i] = l->b ? l->b[i] : 0;
        return;
    }
    int64_t rows = 0;
    for (int64_t t = 0; t < l->until; t++) rows += l->sizes[t];
    for (int64_t column = m->me * LANES; column < columns; column += m->team * LANES) project(l, rows, column);
}

/* Copies the last state of each sequence. */
static void finish(const layer *l, slice s) {
    const int64_t H = l->hidden;
    for (int64_t t = 0, first = 0; t < l->until; first += l->sizes[t++])
        for (int64_t row = t + 1 < l->until && l->sizes[t + 1] > s.lo ? l->sizes[t + 1] : s.lo; row < least(s.hi, l->sizes[t]); row++) {
            memcpy(l->h_end + row * H, l->h + (first + row) * H, 4 * H);
            if (l->c) memcpy(l->c_end + row * H, l->c + (first + row) * H, 4 * H);
        }
}

static int at_rest(const float *h, int64_t count) {
    int64_t i = 0;
    while (h && i < count && h[i] == 0) i++;
    return !h || i == count;
}

static void forward_steps(const layer *l, member *m) {
    const layout o = layout_of(l, 0);
    const slice s = slice_of(l, m);
    place p = {0, l->from == 0, l->h_start, l->c_start, l->c ? l->c : l->c_end};
    p.rests = p.rests && at_rest(p.h ? p.h + s.lo * l->hidden : NULL, (s.hi - s.lo) * l->hidden);
    for (int64_t t = 0; t < l->until; t++) {
        const int64_t end = least(s.hi, l->sizes[t]);
        const int height = tile_rows(end - s.lo);
        for (int64_t number = t < l->from ? o.panels : s.panel; number < o.panels; number += s.next)
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
    const slice s = slice_of(l, m);
    const int64_t H = l->hidden;
    int64_t first = 0, later = 0; /* the first row of the step after, and how many rows it has */
    for (int64_t t = 0; t < l->until; t++) first += l->sizes[t];
    for (int64_t t = l->until - 1; t >= (l->asked ? -1 : 0); t--) {
        const int64_t here = t < 0 ? 0 : first - l->sizes[t], end = t < 0 ? s.lo : least(s.hi, l->sizes[t]);
        const int64_t before = t > 0 ? here - l->sizes[t - 1] : 0;
        const place p = {here, 0, t > 0 ? l->h + before * H : l->h_start, t > 0 ? l->c + before * H : l->c_start, NULL};
        const int height = tile_rows(later - s.lo);
        for (int64_t number = s.panel; number < o.panels; number += s.next) {
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

typedef struct { const float *dz, *v; int64_t stride, width, depth; } pair; /* dz [depth, stride], v [depth, width] */

/* to = the sum over pairs of dz^T v, for some columns of dz, that is rows of `to` [, width]. */
static void outer(const pair *pairs, int count, float *to, int rows) {
    const int64_t width = pairs->width;
    for (int64_t j = 0; j < width; j += 4 * LANES) {
        const int wide = (int)least(4, (width - j) / LANES);
        const float *next = j + 4 * LANES < width ? to + j + 4 * LANES : to + rows * width;
        vec sums[ROWS][4];
        lines soon;
        soon.count = 0;
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < wide; i++) ask(&soon, next + r * width + i * LANES);
        for (const pair *p = pairs; p < pairs + count; p++)
            product_across(rows, wide, p->dz, p->stride, (panel){p->v + j, width}, p->depth, sums, p > pairs, &soon);
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < wide; i++) store(to + r * width + j + i * LANES, sums[r][i], LANES);
    }
}

static float column_sum(const float *at, int64_t stride, int64_t rows) {
    float sum = 0;
    for (int64_t k = 0; k < rows; k++) sum += at[k * stride];
    return sum;
}

/* dU, dW and db of some rows of a gate, over few steps of sequences that all have the same length. */
static void weight_gradients(const layer *l, int64_t steps, int rested, int gate, int64_t unit, int rows) {
    const int64_t H = l->hidden, batch = l->sizes[0], column = gate * H + unit;
    const int reset = l->cell == GRU && gate == 2;
    const float *dz = l->dz + column, *dq = reset ? l->dq + unit : dz;
    const int64_t stride = reset ? H : l->stride;
    if (l->dU) outer((pair[]){{dz, l->x, l->stride, l->input, steps * batch}}, 1, l->dU + column * l->input, rows);
    if (l->dW) outer((pair[]){{dq + batch * stride, l->h, stride, H, (steps - 1) * batch}, {dq, l->h_start, stride, H, batch}},
                     rested ? 1 : 2, l->dW + column * H, rows);
    for (int i = 0; i < rows && l->db; i++) l->db[column + i] = column_sum(dz + i, l->stride, steps * batch);
    for (int i = 0; i < rows && l->db_W && reset; i++) l->db_W[unit + i] = column_sum(dq + i, stride, steps * batch);
}

/* dx = dz U, 4 * LANES columns of it. */
static void input_gradient(const layer *l, int64_t rows, int64_t column) {
    const lines none = {.count = 0};
    const int64_t M = l->input;
    const int wide = (int)least(4, (M - column) / LANES), height = tile_rows(rows);
    for (int64_t row = 0; row < rows; row += height) {
        vec sums[ROWS][4];
        const int some = (int)least(height, rows - row);
        const panel weights = {l->U + column, M};
        product(some, wide, l->dz + row * l->stride, l->stride, weights, layout_of(l, 1).depth, sums, 0, &none);
        for (int r = 0; r < some; r++)
            for (int v = 0; v < wide; v++) store(l->dx + (row + r) * M + column + v * LANES, sums[r][v], LANES);
    }
}

static void gradients(const layer *l, member *m) {
    const int64_t H = l->hidden, rows = l->until * l->sizes[0], gates = layout_of(l, 0).gates;
    for (int64_t j = 4 * LANES * m->me; l->dx && j < l->input; j += 4 * LANES * m->team) input_gradient(l, rows, j);
    const int rested = at_rest(l->h_start, l->sizes[0] * H);
    for (int gate = 0; gate < gates && (l->dU || l->dW || l->db || l->db_W); gate++)
        for (int64_t unit = H * m->me / m->team, end = H * (m->me + 1) / m->team; unit < end; unit += ROWS)
            weight_gradients(l, l->until, rested, gate, unit, (int)least(ROWS, end - unit));
}

/* -------------------------------------------------------------------------------------------------------------- */

static void work(void *argument) {
    job *j = argument;
    const layer *l = j->l;
    member m = {j, __atomic_fetch_add(&j->next, 1, __ATOMIC_RELAXED), l->team ? l->team() : 1, 0};
#ifdef __SSE__
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040); /* numbers below 1e-38 count as 0: a vanishing gradient would cost 100 times as much */
#endif
    if (j->back) {
        const layout o = layout_of(l, 1);
        for (int64_t number = m.me; number < o.panels && !o.direct; number += m.team) pack_backward(l, o, number);
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
    job j = {l, back, 0, 0};
    const int64_t threads = shared(l) ? l->threads : least(l->threads, l->sizes[l->from]);
    if (l->fork && l->team && threads > 1) l->fork(work, &j, (unsigned)threads, 0);
    else work(&j);
}

void forward(const layer *l) { run(l, 0); }
void backward(const layer *l) { run(l, 1); }
