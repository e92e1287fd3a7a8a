/* One layer of a recurrent network over a whole sequence, forward and backward, in float32.

   The equations are those of core/cells.py, derived in core/engines/bptt.py. Weights are packed
   once a call, in the order in which they are read. A tile of rows times a panel of weights is
   summed in registers (product.h) and goes through the cell's equations (steps.h) while it is
   still there. A thread takes its own sequences through all steps; of few sequences it takes some
   hidden units instead, with a barrier after each step. A single sequence: see single.h.

   Memory: all steps are stored one after another, sizes[t] rows each; sizes never rise.

   Invariant: results are bit-identical for any number of threads, and for any batch of two or
   more sequences, as sums over hidden units are always taken in the same order. U x has other
   bits where the BLAS computes it: for more rows than FEW_ROWS in plan.py. */

#include <stdlib.h>

#include "single.h"
#include "small_batch.h"
#include "steps.h"

/* ---- forward ---- */

/* Lists what a tile reads and writes after its product, which prefetches it meanwhile. */
static void prefetch_forward(const layer *l, layout o, place p, int64_t row, int rows,
                             int64_t number, prefetch_list *prefetches) {
    const int64_t H = l->hidden, j = number * o.together * LANES;
    for (int r = 0; r < rows; r++) {
        const int64_t at = p.first + row + r;
        const float *z = preactivation(l, o, at);
        for (int v = 0; v < width(o, number); v++)
            prefetch_later(prefetches, z + (v % o.gates) * H + j + (v / o.gates) * LANES);
        if (l->cell == RNN) continue;
        prefetch_later(prefetches, l->h + at * H + j);
        prefetch_later(prefetches,
                       l->cell == LSTM ? p.c_here + (row + r) * H + j : l->q + at * H + j);
    }
}

/* One tile of step t: `rows` rows and the units of a panel. Without a tape U x is part of the
   product, and the GRU's candidate keeps its own apart, as only W h is multiplied by the reset
   gate. */
static void forward_tile(const layer *l, layout o, place p, int64_t row, int rows, int64_t number) {
    const int64_t H = l->hidden, at = p.first + row, j = number * o.together * LANES;
    const int wide = width(o, number), with_inputs = l->x && !l->gates;
    vec sums[ROWS][4], inputs[ROWS], *all = &sums[0][0];
    prefetch_list prefetches;
    prefetches.count = 0;
    if (with_inputs) {
        const panel weights = packed_panel(packed_U(l, o), o, l->input, number);
        product(rows, wide, l->x + at * l->input, l->input, weights, l->input, sums, 0,
                &prefetches);
    } else {
        prefetch_forward(l, o, p, row, rows, number, &prefetches);
    }
    for (int r = 0; r < rows && l->cell == GRU; r++) {
        inputs[r] = with_inputs ? sums[r][2] : (vec){0};
        sums[r][2] = (vec){0};
    }
    if (p.skips_W && !with_inputs) memset(sums, 0, sizeof sums);
    else if (!p.skips_W)
        product(rows, wide, p.h + row * H, H, panel_of(l, o, number), H, sums, with_inputs,
                &prefetches);
    for (int r = 0; r < rows; r++) {
        const float *z = preactivation(l, o, at + r);
        for (int v = 0; v < wide; v += o.gates)
            units_forward(l, p, row + r, j + v / o.gates * LANES, all + 4 * r + v, z, inputs[r]);
    }
}

/* One step of a thread's rows up to `end`, or of its units. */
static void forward_rows(const layer *l, layout o, place p, slice s, int64_t end) {
    const int height = tile_rows(end - s.lo);
    for (int64_t number = s.panel; number < s.panels; number++)
        for (int64_t row = s.lo; row < end; row += height)
            forward_tile(l, o, p, row, (int)least(height, end - row), number);
}

/* The first of LANES rows of U and W, and columns of z, that make up a part of the work. Parts go
   through all gates of some units, then of the next units. */
static int64_t column_of(const layer *l, layout o, int64_t part) {
    return part % o.gates * l->hidden + part / o.gates * LANES;
}

/* Packs W, unless it is read in place; then packs U (no tape) or computes U x + b. */
static void prepare(const layer *l, member *m) {
    const layout o = layout_of(l, 0);
    const slice mine = panels_of(o, m);
    int64_t rows = 0;
    for (int64_t t = 0; t < l->end; t++) rows += l->sizes[t];
    for (int64_t number = mine.panel; number < mine.panels; number++) {
        if (!o.single && !pack_forward(l, o, l->W, l->hidden, l->packed, number))
            note_not_finite(m);
        if (l->x && !l->gates) pack_forward(l, o, l->U, l->input, packed_U(l, o), number);
    }
    const int64_t parts = o.blocks * o.gates;
    const int prefetch_W = o.single && o.gates * l->hidden * l->hidden <= NEAR;
    for (int64_t part; l->x && l->gates && (part = next_part(m, parts)) >= 0;) {
        const int64_t column = column_of(l, o, part),
                      later = column_of(l, o, least(part + 1, parts - 1));
        const float *next[2] = {l->U + later * l->input,
                                prefetch_W ? l->W + column * l->hidden : NULL};
        project(l, rows, column, valid(l, column % l->hidden), next);
    }
    for (int64_t i = 0; i < o.gates * l->hidden && l->x && !l->gates && m->me == 0; i++)
        packed_b(l, o)[i] = l->b ? l->b[i] : 0;
}

/* Copies the last state of each sequence; one thread does so where all have the same. */
static void finish(const layer *l, const member *m, slice s) {
    const int64_t H = l->hidden;
    if (!l->h_end || (shared(l) && m->me != 0)) return;
    for (int64_t t = 0, first = 0; t < l->end; first += l->sizes[t++]) {
        const int64_t later = t + 1 < l->end ? l->sizes[t + 1] : 0, end = least(s.hi, l->sizes[t]);
        for (int64_t row = later > s.lo ? later : s.lo; row < end; row++) {
            memcpy(l->h_end + row * H, l->h + (first + row) * H, 4 * H);
            if (l->c) memcpy(l->c_end + row * H, l->c + (first + row) * H, 4 * H);
        }
    }
}

/* Steps t = from .. to - 1, of which those before l->begin were taken by an earlier call. */
static void take_steps(const layer *l, member *m, layout o, slice s, place *p, int64_t from,
                       int64_t to) {
    for (int64_t t = from; t < to; t++) {
        if (t >= l->begin && o.single) {
            if (!forward_single(l, *p, s, t)) note_not_finite(m);
        } else if (t >= l->begin) {
            forward_rows(l, o, *p, s, least(s.hi, l->sizes[t]));
        }
        p->h = l->h + p->first * l->hidden;
        p->c = p->c_here;
        p->first += l->sizes[t];
        p->skips_W = 0;
        if (l->c) p->c_here += l->sizes[t] * l->hidden;
        if (t >= l->begin && shared(l)) barrier(m);
    }
}

/* All steps of a thread's slice. From a zero state the first step needs no product with W, unless W
   holds an infinity or a NaN, for 0 times these is NaN. A packed W was examined while packing. A W
   that is read in place shows it in the products of the second step, as no such sum is finite: then
   both steps are taken again, in full. */
static void forward_steps(const layer *l, member *m) {
    const layout o = layout_of(l, 0);
    const slice s = slice_of(l, o, m);
    const float *h_start = l->h_start ? l->h_start + s.lo * l->hidden : NULL;
    const int zero = l->begin == 0 && is_zero(h_start, (s.hi - s.lo) * l->hidden);
    const int skips_W = zero && !o.single && !not_finite(m);
    const place start = {0, skips_W, l->h_start, l->c_start, l->c ? l->c : l->c_end};
    place p = start;
    int64_t t = 0;
    if (zero && o.single && l->end > 1) {
        copy_preactivations(l, o, s, 0);
        p.skips_W = 1;
        take_steps(l, m, o, s, &p, 0, 2);
        t = 2;
        if (not_finite(m)) {
            copy_preactivations(l, o, s, 1);
            p = start;
            t = 0;
        }
    }
    float *zeros = NULL;
    if (t == 0 && !p.h && !p.skips_W)
        p.h = zeros = calloc((size_t)(l->sizes[0] * l->hidden), sizeof(float));
    if (!p.h) p.skips_W = 1;
    take_steps(l, m, o, s, &p, t, l->end);
    free(zeros);
    finish(l, m, s);
}

/* ---- backward ---- */

/* dz W (of the GRU: (dr dz dq) W) for rows that continue after the step that begins at `first`. */
static void through_weights(const layer *l, layout o, int64_t first, int64_t row, int rows,
                            int64_t number, vec (*sums)[4], const prefetch_list *prefetches) {
    const int64_t H = l->hidden, depth = l->cell == GRU ? 2 * H : o.depth;
    const int wide = width(o, number);
    panel weights = panel_of(l, o, number);
    const float *dz = l->dz + (first + row) * l->stride, *dq = l->dq + (first + row) * H;
    product(rows, wide, dz, l->stride, weights, depth, sums, 0, prefetches);
    weights.at += depth * weights.stride;
    if (l->cell != GRU) return;
    product(rows, wide, dq, H, weights, H, sums, 1, prefetches);
}

/* Lists what step t reads and writes at these units, which the product prefetches meanwhile. */
static void prefetch_backward(const layer *l, layout o, place p, int64_t row, int rows,
                              int64_t number, prefetch_list *prefetches) {
    const int64_t H = l->hidden;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < width(o, number); v++) {
            const int64_t j = (number * o.together + v) * LANES, at = p.first + row + r;
            for (int64_t g = 0; g < o.depth; g += H)
                prefetch_later(prefetches, l->dz + at * l->stride + g + j);
            prefetch_later(prefetches, l->dout + at * H + j);
            if (l->cell != RNN)
                prefetch_later(prefetches, (l->cell == LSTM ? l->c : l->q) + at * H + j);
            if (l->cell == LSTM && p.c) prefetch_later(prefetches, p.c + (row + r) * H + j);
        }
}

/* One tile of step t for rows that continue after it; `first` is the first row of step t + 1.
   Before step 0 only dE/d(first state) is completed. */
static void backward_tile(const layer *l, layout o, place p, int64_t t, int64_t first, int64_t row,
                          int rows, int64_t number) {
    vec sums[ROWS][4];
    prefetch_list prefetches;
    prefetches.count = 0;
    if (t >= 0) prefetch_backward(l, o, p, row, rows, number, &prefetches);
    through_weights(l, o, first, row, rows, number, sums, &prefetches);
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < width(o, number); v++) {
            const int64_t j = (number * o.together + v) * LANES;
            float *dh = l->dh + (row + r) * l->hidden + j;
            if (t >= 0) units_backward(l, p, row + r, j, sums[r][v]);
            else store(dh, load(dh, valid(l, j)) + sums[r][v], valid(l, j));
        }
}

static void backward_steps(const layer *l, member *m) {
    const layout o = layout_of(l, 1);
    const slice s = slice_of(l, o, m);
    int64_t first = 0,
            later = 0; /* of step t + 1: its first row, and how many of this slice's rows it has */
    for (int64_t t = 0; t < l->end; t++) first += l->sizes[t];
    for (int64_t t = l->end - 1; t >= (l->needs_d_start ? -1 : 0); t--) {
        const int64_t here = t < 0 ? 0 : first - l->sizes[t];
        const int64_t end = t < 0 ? s.lo : least(s.hi, l->sizes[t]);
        const place p = place_backward(l, t, here);
        const int height = tile_rows(later - s.lo);
        for (int64_t number = s.panel; number < s.panels; number++) {
            for (int64_t row = s.lo; row < later; row += height)
                backward_tile(l, o, p, t, first, row, (int)least(height, later - row), number);
            for (int64_t row = later > s.lo ? later : s.lo; row < end;
                 row++) /* rows that end with step t */
                for (int v = 0; v < width(o, number); v++)
                    units_backward(l, p, row, (number * o.together + v) * LANES, (vec){0});
        }
        first = here;
        later = end;
        if (shared(l)) barrier(m);
    }
}

/* ---- threads ---- */

static void run_backward(const layer *l, member *m) {
    const layout o = layout_of(l, 1);
    const slice mine = panels_of(o, m);
    for (int64_t number = mine.panel; number < mine.panels && !o.direct; number++)
        pack_backward(l, o, number);
    barrier(m);
    if (o.single) backward_single(l, m);
    else backward_steps(l, m);
    barrier(m);
    gradients(l, m);
}

static void run_forward(const layer *l, member *m) {
    if (l->begin == 0) {
        prepare(l, m);
        barrier(m);
    }
    forward_steps(l, m);
}

/* What each thread of a team runs. Numbers below 1e-38 count as 0 meanwhile: a gradient that
   vanishes would cost 100 times as much. */
static void work(void *argument) {
    job *j = argument;
    const layer *l = j->l;
    member m = {j, j->many ? l->thread_number() : 0, j->many ? l->team_size() : 1, 0, 0};
#ifdef __SSE__
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040);
#endif
    if (j->backward) run_backward(l, &m);
    else run_forward(l, &m);
#ifdef __SSE__
    _mm_setcsr(mode);
#endif
}

static void run(const layer *l, int backward) {
    const int64_t parts = shared(l) ? layout_of(l, backward).panels : l->sizes[l->begin];
    const int64_t threads = least(least(MOST_THREADS, l->threads), parts);
    job j = {.l = l, .backward = backward, .many = l->parallel && threads > 1};
    if (j.many) l->parallel(work, &j, (unsigned)threads, 0);
    else work(&j);
}

void forward(const layer *l) { run(l, 0); }

void backward(const layer *l) {
    const size_t size = sizeof(float) * (size_t)(l->sizes[0] * l->hidden);
    if (l->zero_d_end) memset(l->dh, 0, size);
    if (l->zero_d_end && l->cell == LSTM) memset(l->dc, 0, size);
    run(l, 1);
}
