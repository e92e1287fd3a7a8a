/* One layer of a recurrent network over a whole sequence, forward and back, in float32.

   The equations are those of core/cells.py and the derivation is in core/engines/bptt.py; core/engines/c/binding.py compiles this file,
   core/engines/c/passes.py calls it. What makes it fast: the weights are laid out once in the order in which they are read
   (`prepare`); a tile of rows times a panel of weights is summed up in registers (product.h) and goes through the
   cell's equations as soon as it is complete, while it is still there; and a thread takes its own sequences through all
   steps, so that threads do not wait for each other meanwhile. Of a few sequences, instead, every thread takes some
   hidden units, and waits for the others after each step. A single sequence through a large net has steps of its own
   (single.h). The vectors are those of the compiler (GCC, Clang), as wide as the machine's.

   Memory: step t holds sizes[t] rows, sizes falling with t; all steps lie one after another. Gates are stacked as in
   core/cells.py. The order in which a sum over hidden units is taken depends neither on the number of threads nor, from
   two sequences on, on the batch: nor do its bits. (U x of few rows is found here, as is that of a small net
   without a way back; of many rows by a library.) */

#include "single.h"
#include "small_batch.h"
#include "steps.h"

/* ---- forward ------------------------------------------------------------------------------------------------- */

static void forward_tile(const layer *l, layout o, place p, int64_t row, int rows, int64_t number) {
    const int64_t H = l->hidden, at = p.first + row, j = number * o.together * LANES;
    const int wide = width(o, number), whole = l->x && !l->gates;
    vec sums[ROWS][4], inputs[ROWS], *all = &sums[0][0];
    prefetch_list prefetches;
    prefetches.count = 0;
    for (int r = 0; r < rows && !whole; r++) {
        const float *z = preactivation(l, o, at + r);
        for (int v = 0; v < wide; v++) prefetch_later(&prefetches, z + (v % o.gates) * H + j + (v / o.gates) * LANES);
        if (l->cell != RNN) prefetch_later(&prefetches, l->h + (at + r) * H + j);
        if (l->cell != RNN) prefetch_later(&prefetches, l->cell == LSTM ? p.c_here + (row + r) * H + j : l->q + (at + r) * H + j);
    }
    if (whole) {
        const panel weights = packed_panel(packed_U(l, o), o, l->input, number);
        product(rows, wide, l->x + at * l->input, l->input, weights, l->input, sums, 0, &prefetches);
    }
    for (int r = 0; r < rows && l->cell == GRU; r++) {
        inputs[r] = whole ? sums[r][2] : (vec){0};
        sums[r][2] = (vec){0};
    }
    if (p.rests && !whole) memset(sums, 0, sizeof sums);
    else if (!p.rests) product(rows, wide, p.h + row * H, H, panel_of(l, o, number), H, sums, whole, &prefetches);
    for (int r = 0; r < rows; r++) {
        const float *z = preactivation(l, o, at + r);
        for (int v = 0; v < wide; v += o.gates)
            units_forward(l, p, row + r, j + v / o.gates * LANES, all + 4 * r + v, z, inputs[r]);
    }
}

/* A step of a thread's rows up to `end`, or of its units. */
static void forward_rows(const layer *l, layout o, place p, slice s, int64_t end) {
    const int height = tile_rows(end - s.lo);
    for (int64_t number = s.panel; number < s.panels; number++)
        for (int64_t row = s.lo; row < end; row += height)
            forward_tile(l, o, p, row, (int)least(height, end - row), number);
}

/* The first of a part's LANES rows of U and W, and columns of z: parts go through all gates of some units, then of the
   next. */
static int64_t column_of(const layer *l, layout o, int64_t part) {
    return part % o.gates * l->hidden + part / o.gates * LANES;
}

/* What comes before the first step. */
static void prepare(const layer *l, member *m) {
    const layout o = layout_of(l, 0);
    const slice mine = panels_of(o, m);
    int64_t rows = 0;
    for (int64_t t = 0; t < l->end; t++) rows += l->sizes[t];
    for (int64_t number = mine.panel; number < mine.panels; number++) {
        if (!o.single) pack_forward(l, o, l->W, l->hidden, l->packed, number);
        if (l->x && !l->gates) pack_forward(l, o, l->U, l->input, packed_U(l, o), number);
    }
    const int64_t parts = o.blocks * o.gates;
    const int waits = o.single && o.gates * l->hidden * l->hidden <= NEAR;
    for (int64_t part; l->x && l->gates && (part = next_part(m, parts)) >= 0;) {
        const int64_t column = column_of(l, o, part), later = column_of(l, o, least(part + 1, parts - 1));
        const float *next[2] = {l->U + later * l->input, waits ? l->W + column * l->hidden : NULL};
        project(l, rows, column, valid(l, column % l->hidden), next);
    }
    for (int64_t i = 0; i < o.gates * l->hidden && l->x && !l->gates && m->me == 0; i++)
        packed_b(l, o)[i] = l->b ? l->b[i] : 0;
}

/* Copies the last state of each sequence. */
static void finish(const layer *l, slice s) {
    const int64_t H = l->hidden;
    for (int64_t t = 0, first = 0; t < l->end; first += l->sizes[t++]) {
        const int64_t later = t + 1 < l->end ? l->sizes[t + 1] : 0, end = least(s.hi, l->sizes[t]);
        for (int64_t row = later > s.lo ? later : s.lo; row < end; row++) {
            memcpy(l->h_end + row * H, l->h + (first + row) * H, 4 * H);
            if (l->c) memcpy(l->c_end + row * H, l->c + (first + row) * H, 4 * H);
        }
    }
}

static void forward_steps(const layer *l, member *m) {
    const layout o = layout_of(l, 0);
    const slice s = slice_of(l, o, m);
    place p = {0, l->begin == 0, l->h_start, l->c_start, l->c ? l->c : l->c_end};
    p.rests = p.rests && is_zero(p.h ? p.h + s.lo * l->hidden : NULL, (s.hi - s.lo) * l->hidden);
    for (int64_t t = 0; t < l->end; t++) {
        if (t >= l->begin && o.single) forward_single(l, p, s, t);
        else if (t >= l->begin) forward_rows(l, o, p, s, least(s.hi, l->sizes[t]));
        p.h = l->h + p.first * l->hidden, p.c = p.c_here;
        p.first += l->sizes[t], p.rests = 0;
        if (l->c) p.c_here += l->sizes[t] * l->hidden;
        if (t >= l->begin && shared(l)) barrier(m);
    }
    if (l->h_end && (!shared(l) || m->me == 0)) finish(l, s);
}

/* ---- back ---------------------------------------------------------------------------------------------------- */

/* dz W (of the GRU: (dr dz dq) W) for rows that go on at the step whose first row is `first`. */
static void through_weights(const layer *l, layout o, int64_t first, int64_t row, int rows, int64_t number,
                            vec (*sums)[4], const prefetch_list *prefetches) {
    const int64_t H = l->hidden, depth = l->cell == GRU ? 2 * H : o.depth;
    const int wide = width(o, number);
    panel weights = panel_of(l, o, number);
    const float *dz = l->dz + (first + row) * l->stride, *dq = l->dq + (first + row) * H;
    product(rows, wide, dz, l->stride, weights, depth, sums, 0, prefetches);
    weights.at += depth * weights.stride;
    if (l->cell != GRU) return;
    product(rows, wide, dq, H, weights, H, sums, 1, prefetches);
}

/* What step t reads and writes at these units. */
static void prefetch_backward(const layer *l, layout o, place p, int64_t row, int rows, int64_t number, prefetch_list *prefetches) {
    const int64_t H = l->hidden;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < width(o, number); v++) {
            const int64_t j = (number * o.together + v) * LANES, at = p.first + row + r;
            for (int64_t g = 0; g < o.depth; g += H) prefetch_later(prefetches, l->dz + at * l->stride + g + j);
            prefetch_later(prefetches, l->dout + at * H + j);
            if (l->cell != RNN) prefetch_later(prefetches, (l->cell == LSTM ? l->c : l->q) + at * H + j);
            if (l->cell == LSTM && p.c) prefetch_later(prefetches, p.c + (row + r) * H + j);
        }
}

static void backward_steps(const layer *l, member *m) {
    const layout o = layout_of(l, 1);
    const slice s = slice_of(l, o, m);
    const int64_t H = l->hidden;
    int64_t first = 0, later = 0; /* the first row of the step after, and how many rows it has */
    for (int64_t t = 0; t < l->end; t++) first += l->sizes[t];
    for (int64_t t = l->end - 1; t >= (l->needs_d_start ? -1 : 0); t--) {
        const int64_t here = t < 0 ? 0 : first - l->sizes[t], end = t < 0 ? s.lo : least(s.hi, l->sizes[t]);
        const place p = place_backward(l, t, here);
        const int height = tile_rows(later - s.lo);
        for (int64_t number = s.panel; number < s.panels; number++) {
            const int wide = width(o, number);
            for (int64_t row = s.lo; row < later; row += height) { /* those that go on after step t */
                const int rows = (int)least(height, later - row);
                vec sums[ROWS][4];
                prefetch_list prefetches;
                prefetches.count = 0;
                if (t >= 0) prefetch_backward(l, o, p, row, rows, number, &prefetches);
                through_weights(l, o, first, row, rows, number, sums, &prefetches);
                for (int r = 0; r < rows; r++)
                    for (int v = 0; v < wide; v++) {
                        const int64_t j = (number * o.together + v) * LANES;
                        float *dh = l->dh + (row + r) * H + j;
                        if (t >= 0) units_backward(l, p, row + r, j, sums[r][v]);
                        else store(dh, load(dh, valid(l, j)) + sums[r][v], valid(l, j));
                    }
            }
            for (int64_t row = later > s.lo ? later : s.lo; row < end; row++) /* those that end with step t */
                for (int v = 0; v < wide; v++) units_backward(l, p, row, (number * o.together + v) * LANES, (vec){0});
        }
        first = here, later = end;
        if (shared(l)) barrier(m);
    }
}

/* -------------------------------------------------------------------------------------------------------------- */

static void work(void *argument) {
    job *j = argument;
    const layer *l = j->l;
    member m = {j, j->many ? l->thread_number() : 0, j->many ? l->team_size() : 1, 0, 0};
#ifdef __SSE__
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040); /* numbers below 1e-38 count as 0: a vanishing gradient would cost 100 times as much */
#endif
    if (j->back) {
        const layout o = layout_of(l, 1);
        const slice mine = panels_of(o, &m);
        for (int64_t number = mine.panel; number < mine.panels && !o.direct; number++) pack_backward(l, o, number);
        barrier(&m);
        if (o.single) backward_single(l, &m);
        else backward_steps(l, &m);
        barrier(&m);
        gradients(l, &m);
    } else {
        if (l->begin == 0) prepare(l, &m), barrier(&m);
        forward_steps(l, &m);
    }
#ifdef __SSE__
    _mm_setcsr(mode);
#endif
}

static void run(const layer *l, int back) {
    const int64_t most = least(MOST_THREADS, l->threads), parts = shared(l) ? layout_of(l, back).panels : l->sizes[l->begin];
    const int64_t threads = least(most, parts);
    job j = {l, back, l->parallel && threads > 1, {{0}}};
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
