/* The closed loop of glimpse/model.py without gradient: where to look, and what one glimpse tells the core.

   The equations are those of `RecurrentAttention.aim` and `.glance`, in float32; the core's own step is that of
   core/engines/c/kernel.c. Weights are laid out once in the order in which they are read. Every row (image) goes its own way, so
   threads share them out. glimpse/compiled.py compiles this file and calls it. */

#include <math.h>

#include "../core/engines/c/product.h"
#include "objective.c"
#include "sensor.c"

typedef struct { /* W x + b; W [out, in] */
    int64_t in, out;
    const float *W, *b;
    float *packed; /* room for `packed_size` floats, aligned to 64 bytes */
} linear;

typedef struct { /* the fields of glimpse/compiled.py, in its order */
    retina eye;
    linear location, what, where, combine, input; /* V_l, W_what, W_where, W_g and the core's U */
    double location_scale, input_scale;
    int64_t widest, threads; /* pixels of the widest patch */
    uint32_t *columns;       /* [threads, widest] */
    void (*fork)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel, or NULL */
} looking;

typedef struct { /* what one glimpse reads and writes, [batch, ...] each */
    const float *h, *chosen;
    float *mean, *location, *patches, *parts, *seen, *z;
    int64_t stride; /* floats from row to row of z */
} glimpse;

enum { WIDE = 4 * LANES }; /* columns of a panel */

int64_t packed_size(int64_t in, int64_t out) { return (out + WIDE - 1) / WIDE * WIDE * in; }

static void lay_out(const linear *l) {
    for (int64_t first = 0; first < l->out; first += WIDE) {
        const int64_t columns = least(WIDE, l->out - first), wide = (columns + LANES - 1) / LANES * LANES;
        float *to = l->packed + first * l->in;
        for (int64_t k = 0; k < l->in; k += 16)
            for (int64_t j = 0; j < wide; j++)
                for (int64_t i = k; i < least(k + 16, l->in); i++)
                    to[i * wide + j] = j < columns ? l->W[(first + j) * l->in + i] : 0;
    }
}

/* y = alpha W x + beta b for `rows` rows, and of that what is above `lowest`. */
static void layer(const linear *l, const float *x, int64_t rows, float alpha, float beta, float lowest, float *y,
                  int64_t stride) {
    for (int64_t first = 0; first < l->out; first += WIDE) {
        const int64_t columns = least(WIDE, l->out - first);
        const int wide = (int)((columns + LANES - 1) / LANES);
        const panel weights = {l->packed + first * l->in, wide * LANES};
        for (int64_t row = 0; row < rows; row += ROWS) {
            const int some = (int)least(ROWS, rows - row);
            vec sums[ROWS][4];
            product(some, wide, x + row * l->in, l->in, weights, l->in, sums, 0, &none);
            for (int v = 0; v < wide; v++) {
                const int64_t j = first + v * LANES;
                const int count = (int)least(LANES, l->out - j);
                const vec bias = beta * load(l->b + j, count);
                for (int r = 0; r < some; r++) {
                    vec z = alpha * sums[r][v] + bias;
                    z = choose(z < lowest, (vec){0} + lowest, z);
                    store(y + (row + r) * stride + j, z, count);
                }
            }
        }
    }
}

/* ---- threads ------------------------------------------------------------------------------------------------- */

typedef struct { const looking *l; const glimpse *g; int64_t parts, next; } job;

static void glance_rows(const looking *l, const glimpse *g, int64_t lo, int64_t hi, uint32_t *columns) {
    const int64_t parts = l->combine.in, pixels = l->what.in, rows = hi - lo;
    float *location = g->location + 2 * lo, *at = g->parts + lo * parts, *seen = g->seen + lo * l->combine.out;
    for (int64_t i = 0; i < 2 * rows; i++) { /* NaN stays: it fails in the loss */
        const float chosen = g->chosen[2 * lo + i];
        location[i] = chosen < -1 ? -1 : chosen > 1 ? 1 : chosen;
    }
    see(&l->eye, lo, hi, g->location, columns, g->patches);
    layer(&l->what, g->patches + lo * pixels, rows, 1 / (float)l->input_scale, 1, 0, at, parts);
    layer(&l->where, location, rows, 1, 1, 0, at + l->what.out, parts);
    layer(&l->combine, at, rows, 1, 1, 0, seen, l->combine.out);
    layer(&l->input, seen, rows, 1, 1, -INFINITY, g->z + lo * g->stride, g->stride);
}

static void work(void *argument) {
    job *j = argument;
    const int64_t batch = j->l->eye.batch;
    for (int64_t part; (part = __atomic_fetch_add(&j->next, 1, __ATOMIC_RELAXED)) < j->parts;)
        glance_rows(j->l, j->g, batch * part / j->parts, batch * (part + 1) / j->parts, j->l->columns + part * j->l->widest);
}

/* m = tanh(s V_l h) */
void aim(const looking *l, const glimpse *g) {
    const float s = (float)l->location_scale;
    layer(&l->location, g->h, l->eye.batch, s, s, -INFINITY, g->mean, 2);
    for (int64_t i = 0; i < 2 * l->eye.batch; i++) g->mean[i] = tanhf(g->mean[i]);
}

/* From where was chosen to look to the core's input product U g + b. */
void glance(const looking *l, const glimpse *g) {
    job j = {l, g, least(l->threads, l->eye.batch), 0};
    if (l->fork && j.parts > 1) l->fork(work, &j, (unsigned)j.parts, 0);
    else work(&j);
}

/* Lay out all weights. */
void pack(const looking *l) {
    lay_out(&l->location), lay_out(&l->what), lay_out(&l->where), lay_out(&l->combine), lay_out(&l->input);
}
