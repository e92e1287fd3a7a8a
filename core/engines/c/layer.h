/* What kernel.c is given: the description of a layer, where its tensors lie, how its weights are
   packed, and how a team of threads divides the work. */

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
    int64_t cell;
    int64_t gate, candidate, output; /* activations: sigma_g, sigma_c (the RNN's sigma), sigma_h */
    void (*parallel)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel, or NULL */
    int (*team_size)(void), (*thread_number)(void);                 /* of OpenMP, or NULL */
    int64_t hidden, input, threads;
    int64_t stride;       /* floats from row to row of gates, dz and table */
    int64_t begin, end;   /* the steps to take; backward: all, from 0 to their number */
    const int64_t *sizes; /* [end], the rows of each step, never rising */
    const float *W, *b_W; /* [gates * hidden, hidden]; b_W [hidden] or NULL */
    float *packed;        /* scratch for all packed weights, or for the sums in single.h */
    float *gates, *c, *q, *h; /* the tape; RNN: gates are h; gates NULL: h alone, c at c_end */
    const float *h_start, *c_start; /* NULL: zeros */
    const float *x, *U, *b; /* x [rows, input] or NULL: U x + b is computed here; b or NULL. With
                               neither x nor a table `gates` hold U x, and b is added to it */
    const int64_t *table_rows; /* [rows]: which row of `table` is U x + b; NULL: not from a table */
    const float *table;
    float *h_end, *c_end; /* each sequence's last state [sizes[0], hidden], or NULL */
    const float *dout;    /* backward: dE/dh of each row, directly */
    float *dh, *dc; /* backward: in dE/d(final state), out dE/d(first state), [sizes[0], hidden] */
    float *dz, *dq; /* backward: the preactivations' gradients; may be gates and q themselves */
    float *dx, *dU, *dW, *db, *db_W; /* backward: the gradients to compute here, or NULL */
    int64_t needs_d_start; /* backward: whether dE/d(first state) is needed */
    int64_t zero_d_end;    /* backward: whether dE/d(final state) is 0 */
} layer;

_Static_assert(sizeof(layer) == 42 * 8, "binding.py packs 42 fields of 8 bytes");

/* ---- packed weights ---- */

/* How a matrix is cut into panels, each up to 4 vectors wide: forward LANES units with all their
   gates; for the RNN and backward 4 * LANES units. There are `blocks` of LANES units, the last
   filled up with zeros. Backward the rows of W are in order already: a batch so small that a step
   reads them once takes them in place (`direct`). A single sequence through a large net does so
   both ways (`single`, see single.h), and a panel is UNITS units. */
typedef struct {
    int64_t blocks, panels, depth;
    int gates, together, direct, single; /* `together`: blocks in a panel */
} layout;

enum {
    SINGLE_UNITS = 128, /* a single sequence reads W in place from so many units on */
    UNITS = 64,         /* so many at once; backward, `hidden` is a multiple */
    SHARED = 6,         /* up to so many sequences, threads share the units of a step */
    ENOUGH = 1 << 16,   /* from so many weights on, sharing pays */
    NEAR = 1 << 18      /* up to so many weights, W waits in the second-level cache */
};

static int gates_of(const layer *l) {
    if (l->cell == RNN) return 1;
    return l->cell == LSTM ? 4 : 3;
}

/* Whether the steps add b: what lies on the tape is U x alone. */
static int adds_b(const layer *l) { return l->b && !l->x && !l->table_rows; }

static layout layout_of(const layer *l, int backward) {
    const int64_t H = l->hidden;
    const int gates = gates_of(l);
    layout o = {.blocks = (H + LANES - 1) / LANES};
    o.gates = backward ? 1 : gates;
    o.depth = backward ? gates * H : H;
    o.single =
        l->sizes[0] == 1 && H >= SINGLE_UNITS && (backward ? H % UNITS == 0 : l->gates != NULL);
    o.direct = backward && H % LANES == 0 && l->sizes[0] <= ROWS * l->threads;
    o.together = o.gates == 1 ? 4 : 1;
    if (o.single) o.together = UNITS / LANES;
    o.panels = (o.blocks + o.together - 1) / o.together;
    return o;
}

static int width(layout o, int64_t panel) { /* in vectors */
    return o.gates * (int)least(o.together, o.blocks - panel * o.together);
}

static int64_t packed_size(layout o, int64_t depth) { return o.blocks * LANES * o.gates * depth; }

static panel packed_panel(float *packed, layout o, int64_t depth, int64_t number) {
    return (panel){packed + number * o.together * o.gates * LANES * depth,
                   width(o, number) * LANES};
}

static panel panel_of(const layer *l, layout o, int64_t number) {
    if (o.direct) return (panel){l->W + number * o.together * LANES, l->hidden};
    return packed_panel(l->packed, o, o.depth, number);
}

/* How many of LANES units from unit j on there are. */
static int valid(const layer *l, int64_t j) { return (int)least(LANES, l->hidden - j); }

static float *packed_U(const layer *l, layout o) { return l->packed + packed_size(o, l->hidden); }
static float *packed_b(const layer *l, layout o) {
    return packed_U(l, o) + packed_size(o, l->input);
}

/* Packs a panel of U or W, [gates * hidden, depth], for the forward pass: rows become columns.
   Returns whether all its weights are finite: x - x is NaN where x is infinite or NaN. */
static int pack_forward(const layer *l, layout o, const float *matrix, int64_t depth, float *packed,
                        int64_t number) {
    const panel to = packed_panel(packed, o, depth, number);
    vec difference = {0};
    for (int v = 0; v < width(o, number); v++) {
        const int64_t j = (number * o.together + v / o.gates) * LANES;
        const float *source = matrix + (v % o.gates * l->hidden + j) * depth;
        for (int64_t k = 0; k < depth; k += LANES) {
            const int count = (int)least(LANES, depth - k);
            float *target = (float *)to.at + k * to.stride + v * LANES;
            vec row[LANES];
            for (int i = 0; i < LANES; i++) {
                row[i] = i < valid(l, j) ? load(source + i * depth + k, count) : (vec){0};
                difference += row[i] - row[i];
            }
            transpose(LANES, row);
            for (int i = 0; i < count; i++) store(target + i * to.stride, row[i], LANES);
        }
    }
    return all_zero(difference);
}

static void pack_backward(const layer *l, layout o, int64_t number) {
    const panel to = packed_panel(l->packed, o, o.depth, number);
    for (int v = 0; v < width(o, number); v++) {
        const int64_t j = (number * o.together + v) * LANES;
        float *target = (float *)to.at + v * LANES;
        for (int64_t k = 0; k < o.depth; k++)
            store(target + k * to.stride, load(l->W + k * l->hidden + j, valid(l, j)), LANES);
    }
}

/* ---- a team of threads ---- */

enum { MOST_THREADS = 128, SPINS = 10000 };

/* What a member tells the others: barriers reached, parts of the work taken. It has a cache line of
 * its own. */
typedef struct {
    int64_t reached, taken;
    char padding[48];
} __attribute__((aligned(64))) progress;

typedef struct {
    const layer *l;
    int backward, many, not_finite; /* not_finite: a thread has found a NaN or an infinity in W */
    progress progress[MOST_THREADS];
} job;

typedef struct {
    job *job;
    int me, team,
        exhausted; /* exhausted: how many members' parts, from its own on, are all taken */
    int64_t reached;
} member;

/* Waits until the whole team has reached this barrier. */
static void barrier(member *m) {
    progress *all = m->job->progress;
    __atomic_store_n(&all[m->me].reached, ++m->reached, __ATOMIC_RELEASE);
    for (int other = 0; other < m->team; other++)
        for (int spins = 0; __atomic_load_n(&all[other].reached, __ATOMIC_ACQUIRE) < m->reached;
             spins++)
            if (spins > SPINS) {
                sched_yield();
                spins = SPINS;
            }
}

/* Seen by all after the next barrier. */
static void note_not_finite(member *m) {
    __atomic_store_n(&m->job->not_finite, 1, __ATOMIC_RELAXED);
}
static int not_finite(const member *m) {
    return __atomic_load_n(&m->job->not_finite, __ATOMIC_RELAXED);
}

/* The next of `count` parts for this member, or -1: first its own, which are adjacent, then those
   that others have not reached. `taken` counts from the start of the job, so a job can share out
   parts once. */
static int64_t next_part(member *m, int64_t count) {
    for (; m->exhausted < m->team; m->exhausted++) {
        const int64_t owner = (m->me + m->exhausted) % m->team;
        const int64_t taken =
            __atomic_fetch_add(&m->job->progress[owner].taken, 1, __ATOMIC_RELAXED);
        const int64_t part = count * owner / m->team + taken;
        if (part < count * (owner + 1) / m->team) return part;
    }
    return -1;
}

/* Whether threads share the units rather than the sequences: if these are few and there is much to
 * do for each. */
static int shared(const layer *l) {
    return l->sizes[l->begin] <= SHARED && gates_of(l) * l->hidden * l->hidden >= ENOUGH;
}

typedef struct {
    int64_t lo, hi, panel, panels;
} slice; /* lo <= sequence < hi, panel <= number < panels */

/* The first sequence of slice `part`: all slices have about as many (sequence, step) pairs. */
static int64_t cut(const layer *l, int64_t part, int64_t parts) {
    int64_t total = 0, row = 0, sum = 0;
    for (int64_t t = l->begin; t < l->end; t++) total += l->sizes[t];
    for (int64_t t = l->end; sum * parts < total * part; row++) { /* this row ends before step t */
        while (t > l->begin && l->sizes[t - 1] <= row) t--;
        sum += t - l->begin;
    }
    return row;
}

/* A member's panels: the same units in all steps, so that what it reads is what it wrote. */
static slice panels_of(layout o, const member *m) {
    return (slice){0, 0, o.panels * m->me / m->team, o.panels * (m->me + 1) / m->team};
}

static slice slice_of(const layer *l, layout o, const member *m) {
    if (!shared(l)) return (slice){cut(l, m->me, m->team), cut(l, m->me + 1, m->team), 0, o.panels};
    slice s = panels_of(o, m);
    s.hi = l->sizes[l->begin];
    return s;
}

#endif
