/* One layer of a recurrent network over a whole sequence, forward and back, in float32.

   The equations are those of core/cells.py and the derivation is in core/bptt.py; core/compiled.py compiles this
   file and calls it. What makes it fast: the weights are laid out once in the order in which they are read
   (`pack`); a tile of rows times a panel of weights is summed up in registers (product.h) and goes through the
   cell's equations as soon as it is complete, while it is still there; and a thread takes its own sequences
   through all steps, so that threads never wait for each other. The vectors are those of the compiler (GCC,
   Clang), as wide as the machine's.

   Memory: step t holds sizes[t] rows, sizes falling with t; all steps lie one after another. Gates are stacked
   as in core/cells.py. Each sum over the hidden units runs in the order of the units, whatever the batch and the
   number of threads: the bits do not depend on them. */

#include <stdint.h>
#ifdef __SSE__
#include <immintrin.h>
#endif

#include "product.h"

enum cell { RNN, LSTM, GRU };
enum activation { TANH, SIGMOID, RELU, IDENTITY };

typedef struct { /* the fields of core/compiled.py, in its order */
    int64_t cell, gate, candidate, output; /* activations: sigma_g, sigma_c (of the RNN: sigma), sigma_h */
    int64_t hidden, threads;
    int64_t stride;       /* floats from row to row of gates, dz and table */
    int64_t from, until;  /* the steps to take; back: all, that is 0 and their number */
    int64_t asked;        /* back: 1 if dE/d(first state) is asked for */
    const int64_t *sizes;   /* [until], falling */
    const int64_t *numbers; /* [rows]: the row of `table` that is a step's U x + b; or NULL: it lies in `gates` */
    const float *table;
    const float *W, *b_W;   /* [gates * hidden, hidden]; b_W [hidden] or NULL */
    float *packed;          /* room for `packed_size` floats, aligned to 64 bytes */
    float *gates, *c, *q, *h; /* the tape; of the RNN, gates are h */
    const float *h_start, *c_start;
    const float *dout;       /* back: dE/dh of each row, directly */
    float *dh, *dc;          /* back: from dE/d(final state) to dE/d(first state), [sizes[0], hidden] */
    float *dz, *dq;          /* back: the gradients of the preactivations, may be gates and q themselves */
    void (*fork)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel, or NULL */
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
    const float *h, *c;       /* the state before, [rows, hidden] */
} place;

INLINE void rnn_forward(const layer *l, place p, int64_t row, int64_t j, int count, const vec *a, const float *z) {
    float *h = l->h + (p.first + row) * l->hidden + j;
    store(h, activate(l->candidate, load(z + j, count) + a[0]), count);
}

INLINE void lstm_forward(const layer *l, place p, int64_t row, int64_t j, int count, const vec *a, const float *z) {
    const int64_t H = l->hidden, here = (p.first + row) * H + j;
    float *gates = l->gates + (p.first + row) * l->stride + j;
    vec i = activate(l->gate, load(z + j, count) + a[0]);
    vec f = activate(l->gate, load(z + j + H, count) + a[1]);
    vec g = activate(l->candidate, load(z + j + 2 * H, count) + a[2]);
    vec o = activate(l->gate, load(z + j + 3 * H, count) + a[3]);
    vec c = f * load(p.c + row * H + j, count) + i * g;
    store(gates, i, count), store(gates + H, f, count), store(gates + 2 * H, g, count), store(gates + 3 * H, o, count);
    store(l->c + here, c, count);
    store(l->h + here, o * activate(l->output, c), count);
}

INLINE void gru_forward(const layer *l, place p, int64_t row, int64_t j, int count, const vec *a, const float *z) {
    const int64_t H = l->hidden, here = (p.first + row) * H + j;
    float *gates = l->gates + (p.first + row) * l->stride + j;
    vec r = activate(l->gate, load(z + j, count) + a[0]);
    vec u = activate(l->gate, load(z + j + H, count) + a[1]); /* the update gate */
    vec q = l->b_W ? a[2] + load(l->b_W + j, count) : a[2];
    vec n = activate(l->candidate, load(z + j + 2 * H, count) + r * q);
    vec h = load(p.h + row * H + j, count);
    store(gates, r, count), store(gates + H, u, count), store(gates + 2 * H, n, count);
    store(l->q + here, q, count);
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
    store(dz + H, dc * load(p.c + own, count) * slope(l->gate, f), count);
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
    vec du = dh * (load(p.h + own, count) - n) * slope(l->gate, u), dr = dn * load(l->q + here, count) * slope(l->gate, r);
    float *dz = l->dz + wide;
    store(dz, dr, count), store(dz + H, du, count), store(dz + 2 * H, dn, count);
    store(l->dq + here, dn * r, count);
    store(l->dh + own, carried, count);
}

/* ---- matrix products ----------------------------------------------------------------------------------------- */

/* A panel is up to 4 vectors of columns wide: forward LANES units and their gates, of the RNN and back 4 * LANES
   units. `blocks` of LANES units there are, the last one filled up with zeros. Back, the rows of W are in order
   already: a batch so small that a step reads them once takes them as they lie (`direct`). */
typedef struct { int64_t blocks, panels, depth; int gates, together, direct; } layout;

static layout layout_of(const layer *l, int back) {
    layout o = {.blocks = (l->hidden + LANES - 1) / LANES, .gates = l->cell == RNN ? 1 : l->cell == LSTM ? 4 : 3};
    o.depth = back ? o.gates * l->hidden : l->hidden;
    if (back) o.gates = 1;
    o.together = o.gates == 1 ? 4 : 1;
    o.panels = (o.blocks + o.together - 1) / o.together;
    o.direct = back && l->hidden % LANES == 0 && l->sizes[0] <= ROWS * l->threads;
    return o;
}

static int width(layout o, int64_t panel) { /* in vectors */
    int64_t left = o.blocks - panel * o.together;
    return o.gates * (int)(left < o.together ? left : o.together);
}

static float *packed_panel(const layer *l, layout o, int64_t panel) {
    return l->packed + panel * o.together * o.gates * LANES * o.depth;
}

static panel panel_of(const layer *l, layout o, int64_t number) {
    if (o.direct) return (panel){l->W + number * o.together * LANES, l->hidden};
    return (panel){packed_panel(l, o, number), width(o, number) * LANES};
}

static int valid(const layer *l, int64_t j) { return l->hidden - j < LANES ? (int)(l->hidden - j) : LANES; }

int64_t packed_size(const layer *l) { /* enough for both ways */
    int64_t blocks = layout_of(l, 0).blocks, gates = layout_of(l, 0).gates;
    return blocks * LANES * gates * l->hidden;
}

static void pack(const layer *l, int back, int64_t panel) {
    const layout o = layout_of(l, back);
    const int64_t H = l->hidden;
    const int wide = width(o, panel);
    float *to = packed_panel(l, o, panel);
    for (int v = 0; v < wide; v++) {
        int64_t j = (panel * o.together + (o.gates == 1 ? v : 0)) * LANES;
        const int count = valid(l, j);
        const float *from = l->W + (back ? j : ((o.gates == 1 ? 0 : v) * H + j) * H);
        float *column = to + v * LANES;
        for (int64_t k = 0; k < o.depth; k++, column += wide * LANES) {
            if (back) store(column, load(from + k * H, count), LANES);
            else for (int i = 0; i < LANES; i++) column[i] = i < count ? from[i * H + k] : 0;
        }
    }
}

/* ---- a thread's sequences, lo <= row < hi, through all steps ------------------------------------------------- */

static int tile_rows(int64_t rows) { /* tiles of like heights */
    int64_t tiles = (rows + ROWS - 1) / ROWS;
    return tiles ? (int)((rows + tiles - 1) / tiles) : 1;
}

static void forward_tile(const layer *l, layout o, place p, int64_t row, int rows, int64_t panel) {
    const int64_t H = l->hidden;
    const int wide = width(o, panel);
    vec sums[ROWS][4];
    lines soon;
    soon.count = 0;
    for (int r = 0; r < rows; r++) {
        const int64_t at = p.first + row + r, j = panel * o.together * LANES;
        const float *z = l->numbers ? l->table + l->numbers[at] * l->stride : l->gates + at * l->stride;
        for (int v = 0; v < wide; v++) ask(&soon, z + (v % o.gates) * H + j + (v / o.gates) * LANES);
        if (l->cell != RNN) ask(&soon, l->h + at * H + j), ask(&soon, (l->cell == LSTM ? l->c : l->q) + at * H + j);
    }
    if (p.rests) memset(sums, 0, sizeof sums);
    else product(rows, wide, p.h + row * H, H, panel_of(l, o, panel), H, sums, 0, &soon);
    for (int r = 0; r < rows; r++) {
        const int64_t at = p.first + row + r;
        const float *z = l->numbers ? l->table + l->numbers[at] * l->stride : l->gates + at * l->stride;
        for (int v = 0; v < wide; v += o.gates) {
            const int64_t j = (panel * o.together + v / o.gates) * LANES;
            const int count = valid(l, j);
            if (l->cell == LSTM) lstm_forward(l, p, row + r, j, count, sums[r], z);
            else if (l->cell == GRU) gru_forward(l, p, row + r, j, count, sums[r], z);
            else rnn_forward(l, p, row + r, j, count, sums[r] + v, z);
        }
    }
}

static void forward_rows(const layer *l, int64_t lo, int64_t hi) {
    const layout o = layout_of(l, 0);
    place p = {0, l->from == 0, l->h_start, l->c_start};
    for (int64_t i = lo * l->hidden; p.rests && i < hi * l->hidden; i++) p.rests = l->h_start[i] == 0;
    for (int64_t t = 0; t < l->until; t++) {
        const int64_t end = least(hi, l->sizes[t]);
        const int height = tile_rows(end - lo);
        for (int64_t panel = t < l->from ? o.panels : 0; panel < o.panels; panel++)
            for (int64_t row = lo; row < end; row += height)
                forward_tile(l, o, p, row, (int)least(height, end - row), panel);
        p.h = l->h + p.first * l->hidden, p.c = l->c + p.first * l->hidden;
        p.first += l->sizes[t], p.rests = 0;
    }
}

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
    product(rows, wide, l->dz + (first + row) * l->stride, l->stride, weights, depth, sums, 0, soon);
    weights.at += depth * weights.stride;
    if (l->cell == GRU) product(rows, wide, l->dq + (first + row) * H, H, weights, H, sums, 1, soon);
}

static void backward_rows(const layer *l, int64_t lo, int64_t hi) {
    const layout o = layout_of(l, 1);
    const int64_t H = l->hidden;
    int64_t first = 0, later = 0; /* the first row of the step after, and how many rows it has */
    for (int64_t t = 0; t < l->until; t++) first += l->sizes[t];
    for (int64_t t = l->until - 1; t >= (l->asked ? -1 : 0); t--) {
        const int64_t here = t < 0 ? 0 : first - l->sizes[t], end = t < 0 ? lo : least(hi, l->sizes[t]);
        const int64_t before = t > 0 ? here - l->sizes[t - 1] : 0;
        const place p = {here, 0, t > 0 ? l->h + before * H : l->h_start, t > 0 ? l->c + before * H : l->c_start};
        const int height = tile_rows(later - lo);
        for (int64_t panel = 0; panel < o.panels; panel++) {
            const int wide = width(o, panel);
            for (int64_t row = lo; row < later; row += height) { /* those that go on after step t */
                const int rows = (int)least(height, later - row);
                vec sums[ROWS][4];
                lines soon;
                soon.count = 0;
                for (int r = 0; t >= 0 && r < rows; r++)
                    for (int v = 0; v < wide; v++) {
                        const int64_t j = (panel * o.together + v) * LANES, at = here + row + r;
                        for (int64_t g = 0; g < o.depth; g += H) ask(&soon, l->dz + at * l->stride + g + j);
                        ask(&soon, l->dout + at * H + j);
                        if (l->cell != RNN) ask(&soon, (l->cell == LSTM ? l->c : l->q) + at * H + j);
                        if (l->cell == LSTM) ask(&soon, p.c + (row + r) * H + j);
                    }
                through_weights(l, o, first, row, rows, panel, sums, &soon);
                for (int r = 0; r < rows; r++)
                    for (int v = 0; v < wide; v++) {
                        const int64_t j = (panel * o.together + v) * LANES;
                        float *dh = l->dh + (row + r) * H + j;
                        if (t >= 0) backward_units(l, p, row + r, j, sums[r][v]);
                        else store(dh, load(dh, valid(l, j)) + sums[r][v], valid(l, j));
                    }
            }
        }
        for (int64_t row = later > lo ? later : lo; row < end; row++) /* those that end with step t */
            for (int64_t block = 0; block < o.blocks; block++) backward_units(l, p, row, block * LANES, (vec){0});
        first = here, later = end;
    }
}

/* ---- threads ------------------------------------------------------------------------------------------------- */

typedef struct { const layer *l; int task; int64_t parts, next; } job;
enum { FORWARD, BACKWARD, PACK_FORWARD, PACK_BACKWARD };

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

static void work(void *argument) {
    job *j = argument;
    const layer *l = j->l;
#ifdef __SSE__
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040); /* numbers below 1e-38 count as 0: a vanishing gradient would cost 100 times as much */
#endif
    for (int64_t part; (part = __atomic_fetch_add(&j->next, 1, __ATOMIC_RELAXED)) < j->parts;) {
        if (j->task == FORWARD) forward_rows(l, cut(l, part, j->parts), cut(l, part + 1, j->parts));
        else if (j->task == BACKWARD) backward_rows(l, cut(l, part, j->parts), cut(l, part + 1, j->parts));
        else pack(l, j->task == PACK_BACKWARD, part);
    }
#ifdef __SSE__
    _mm_setcsr(mode);
#endif
}

static void run(const layer *l, int task, int64_t parts) {
    job j = {l, task, parts, 0};
    if (l->fork && l->threads > 1 && parts > 1) l->fork(work, &j, (unsigned)least(l->threads, parts), 0);
    else work(&j);
}

void pack_forward(const layer *l) { run(l, PACK_FORWARD, layout_of(l, 0).panels); }
void forward(const layer *l) { run(l, FORWARD, least(l->threads, l->sizes[l->from])); }
void backward(const layer *l) {
    if (!layout_of(l, 1).direct) run(l, PACK_BACKWARD, layout_of(l, 1).panels);
    run(l, BACKWARD, least(l->threads, l->sizes[0]));
}
