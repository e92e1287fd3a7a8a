/* What kernel.c is given: the description of a layer, where its tensors lie, how its weights are packed, and how a
   team of threads divides the work. */

#ifndef LAYER_H
#define LAYER_H

#define _GNU_SOURCE /* sched_yield */

#include <sched.h>
#include <stdint.h>
#ifdef __SSE__
#include <immintrin.h>
#endif

#include "product.h"

enum cell { RNN, LSTM, GRU };

typedef struct { /* `Layer` of binding.py, field by field */
    int64_t cell, gate, candidate, output; /* activations: sigma_g, sigma_c (the RNN's sigma), sigma_h */
    void (*parallel)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel, or NULL */
    int (*team_size)(void), (*thread_number)(void); /* of OpenMP, or NULL */
    int64_t hidden, input, threads;
    int64_t stride;       /* floats from row to row of gates, dz and table */
    int64_t begin, end;   /* the steps to take; backward: all, from 0 to their number */
    const int64_t *sizes; /* [end], the rows of each step, never rising */
    const float *W, *b_W; /* [gates * hidden, hidden]; b_W [hidden] or NULL */
    float *packed;        /* scratch for all packed weights, or for the sums in single.h */
    float *gates, *c, *q, *h; /* the tape; the RNN's gates are h; gates NULL: h alone, and c at c_end */
    const float *h_start, *c_start; /* NULL: zeros */
    const float *x, *U, *b;    /* x [rows, input] or NULL: U x + b is computed here; b or NULL */
    const int64_t *table_rows; /* [rows]: the row of `table` that is U x + b; NULL: it is in `gates` */
    const float *table;
    float *h_end, *c_end; /* each sequence's last state [sizes[0], hidden], or NULL */
    const float *dout;    /* backward: dE/dh of each row, directly */
    float *dh, *dc;       /* backward: in dE/d(final state), out dE/d(first state), [sizes[0], hidden] */
    float *dz, *dq;       /* backward: the preactivations' gradients; may be gates and q themselves */
    float *dx, *dU, *dW, *db, *db_W; /* backward: the gradients to compute here, or NULL */
    int64_t needs_d_start, zero_d_end; /* backward: whether dE/d(first state) is needed, dE/d(final) is 0 */
} layer;

_Static_assert(sizeof(layer) == 42 * 8, "binding.py packs 42 fields of 8 bytes");

/* ---- weights in the order in which they are read -------------------------------------------------------------- */

/* A panel is up to 4 vectors of columns wide: forward LANES units and their gates, of the RNN and back 4 * LANES
   units. `blocks` of LANES units there are, the last one filled up with zeros. Back, the rows of W are in order
   already: a batch so small that a step reads them once takes them as they lie (`direct`). A single sequence through
   a large net (`alone`: single.h) does so both ways; a panel is then UNITS units. */
typedef struct { int64_t blocks, panels, depth; int gates, together, direct, single; } layout;

enum {
    SINGLE_UNITS = 128,      /* units from which on a single sequence takes W as it lies */
    UNITS = 64,       /* of which so many at once; back, `hidden` is a multiple */
    SHARED = 6,       /* sequences up to which threads share out the units of a step */
    ENOUGH = 1 << 16, /* weights from which on that pays */
    NEAR = 1 << 18    /* weights up to which W can wait in the second-level cache for the first step */
};

static layout layout_of(const layer *l, int back) {
    layout o = {.blocks = (l->hidden + LANES - 1) / LANES, .gates = l->cell == RNN ? 1 : l->cell == LSTM ? 4 : 3};
    o.depth = back ? o.gates * l->hidden : l->hidden;
    o.single = l->sizes[0] == 1 && l->hidden >= SINGLE_UNITS && (back ? l->hidden % UNITS == 0 : l->gates != NULL);
    o.direct = back && l->hidden % LANES == 0 && l->sizes[0] <= ROWS * l->threads;
    if (back) o.gates = 1;
    o.together = o.single ? UNITS / LANES : o.gates == 1 ? 4 : 1;
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

enum { MOST_THREADS = 128 };
typedef struct { int64_t met, taken; char rest[48]; } __attribute__((aligned(64))) progress; /* a line of its own */
typedef struct { const layer *l; int back, many; progress progress[MOST_THREADS]; } job;
typedef struct { job *job; int me, team, passed; int64_t met; } member; /* passed: whose parts are all taken */

/* Waits until the whole team has come here. */
static void barrier(member *m) {
    __atomic_store_n(&m->job->progress[m->me].met, ++m->met, __ATOMIC_RELEASE);
    for (int other = 0; other < m->team; other++)
        for (int64_t looks = 0; __atomic_load_n(&m->job->progress[other].met, __ATOMIC_ACQUIRE) < m->met; looks++)
            if (looks > 10000) sched_yield();
}

/* The next of `count` parts for this member, or -1: first its own, which lie side by side, then those that others have
   not come to yet. `taken` counts from the start of the job, so one job can share out parts once. */
static int64_t next_part(member *m, int64_t count) {
    for (; m->passed < m->team; m->passed++) {
        const int64_t owner = (m->me + m->passed) % m->team;
        const int64_t taken = __atomic_fetch_add(&m->job->progress[owner].taken, 1, __ATOMIC_RELAXED);
        const int64_t part = count * owner / m->team + taken;
        if (part < count * (owner + 1) / m->team) return part;
    }
    return -1;
}

/* Whether each takes some of the units, and not of the sequences: of these there are few, and much to do for each. */
static int shared(const layer *l) {
    return l->sizes[l->begin] <= SHARED && layout_of(l, 1).depth * l->hidden >= ENOUGH;
}

typedef struct { int64_t lo, hi, panel, panels; } slice; /* lo <= sequence < hi, panel <= number < panels */

/* The first row of part `part`: every part has about as many (row, step) pairs. */
static int64_t cut(const layer *l, int64_t part, int64_t parts) {
    int64_t total = 0, row = 0, sum = 0;
    for (int64_t t = l->begin; t < l->end; t++) total += l->sizes[t];
    for (int64_t t = l->end; sum * parts < total * part; row++) { /* row lives until step t */
        while (t > l->begin && l->sizes[t - 1] <= row) t--;
        sum += t - l->begin;
    }
    return row;
}

/* A member's panels: the same units in all steps, so that it finds what it has left itself. */
static slice panels_of(layout o, const member *m) {
    return (slice){0, 0, o.panels * m->me / m->team, o.panels * (m->me + 1) / m->team};
}

static slice slice_of(const layer *l, layout o, const member *m) {
    slice s = panels_of(o, m);
    if (shared(l)) s.hi = l->sizes[l->begin];
    else s = (slice){cut(l, m->me, m->team), cut(l, m->me + 1, m->team), 0, o.panels};
    return s;
}

#endif
