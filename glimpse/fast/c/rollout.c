/* The closed loop of `RecurrentAttention.rollout` (glimpse/model.py) without gradient, in float32.

   Here stand the location network and the glimpse network; the recurrent step is that of
   core/engines/c/kernel.c. Weights are packed once, in the order in which they are read. Rows
   (images) are independent, so threads divide them among themselves, and the results do not depend
   on the number of threads. glimpse/fast/compiled.py compiles and calls this file. */

#include <math.h>

#include "../../../core/engines/c/product.h"
#include "sensor.c"

typedef struct { /* W x + b; W is [out, in] */
    int64_t in, out;
    const float *W, *b;
    float *packed; /* `packed_size` floats, aligned to 64 bytes */
} linear;

typedef struct { /* the fields of `compiled.Network`, in its order */
    sensor sensor;
    linear location, what, where, combine, input; /* V_l, W_what, W_where, W_g; U of the cell */
    double location_scale, input_scale;
    int64_t widest, threads; /* pixels of the widest patch */
    uint32_t *columns;       /* scratch buffer [threads, widest] */
    void (*fork)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel, or NULL */
} network;

typedef struct { /* what one glimpse reads and writes, [batch, ...] each */
    const float *h, *sampled;
    float *mean, *location, *patches, *parts, *g, *z;
    int64_t stride; /* floats from row to row of z */
} glimpse;

enum { PANEL = 4 * LANES }; /* columns of a panel */

int64_t packed_size(int64_t in, int64_t out) { return (out + PANEL - 1) / PANEL * PANEL * in; }

/* Packs W panel by panel, transposed; the last panel is filled up with zeros. */
static void pack(const linear *l) {
    for (int64_t first = 0; first < l->out; first += PANEL) {
        const int64_t columns = least(PANEL, l->out - first);
        const int64_t width = (columns + LANES - 1) / LANES * LANES;
        float *to = l->packed + first * l->in;
        for (int64_t j = 0; j < width; j += LANES)
            for (int64_t k = 0; k < l->in; k += LANES) {
                const int count = (int)least(LANES, l->in - k);
                vec row[LANES];
                for (int i = 0; i < LANES; i++) {
                    const float *from = l->W + (first + j + i) * l->in + k;
                    row[i] = j + i < columns ? load(from, count) : (vec){0};
                }
                transpose(LANES, row);
                for (int i = 0; i < count; i++) store(to + (k + i) * width + j, row[i], LANES);
            }
    }
}

/* y = max(alpha W x + beta b, lowest) for `rows` rows. NaN stays NaN. */
static void layer(const linear *l, const float *x, int64_t rows, float alpha, float beta,
                  float lowest, float *y, int64_t stride) {
    for (int64_t first = 0; first < l->out; first += PANEL) {
        const int64_t columns = least(PANEL, l->out - first);
        const int vectors = (int)((columns + LANES - 1) / LANES);
        const panel weights = {l->packed + first * l->in, vectors * LANES};
        for (int64_t row = 0; row < rows; row += ROWS) {
            const int height = (int)least(ROWS, rows - row);
            vec sums[ROWS][4];
            const float *input = x + row * l->in;
            product(height, vectors, input, l->in, weights, l->in, sums, 0, &no_prefetches);
            for (int v = 0; v < vectors; v++) {
                const int64_t j = first + v * LANES;
                const int count = (int)least(LANES, l->out - j);
                const vec bias = beta * load(l->b + j, count);
                for (int r = 0; r < height; r++) {
                    vec z = alpha * sums[r][v] + bias;
                    z = choose(z < lowest, (vec){0} + lowest, z);
                    store(y + (row + r) * stride + j, z, count);
                }
            }
        }
    }
}

/* One glimpse at the images first <= b < end, up to the cell's input product. */
static void glimpse_rows(const network *n, const glimpse *g, int64_t first, int64_t end,
                         uint32_t *columns) {
    const int64_t rows = end - first;
    float *location = g->location + 2 * first;
    float *patches = g->patches + first * n->what.in;
    float *parts = g->parts + first * n->combine.in;
    float *vector = g->g + first * n->combine.out;
    for (int64_t i = 0; i < 2 * rows; i++) { /* NaN stays NaN and is reported by the loss */
        float x = g->sampled[2 * first + i];
        if (x < -1) x = -1;
        if (x > 1) x = 1;
        location[i] = x;
    }
    extract(&n->sensor, first, end, g->location, columns, g->patches);
    layer(&n->what, patches, rows, 1 / (float)n->input_scale, 1, 0, parts, n->combine.in);
    layer(&n->where, location, rows, 1, 1, 0, parts + n->what.out, n->combine.in);
    layer(&n->combine, parts, rows, 1, 1, 0, vector, n->combine.out);
    layer(&n->input, vector, rows, 1, 1, -INFINITY, g->z + first * g->stride, g->stride);
}

typedef struct {
    const network *network;
    const glimpse *glimpse;
    int64_t parts, next;
} job;

/* A thread takes the next part of the rows until none is left. */
static void work(void *argument) {
    job *j = argument;
    const network *n = j->network;
    const int64_t batch = n->sensor.batch;
    int64_t part;
    while ((part = __atomic_fetch_add(&j->next, 1, __ATOMIC_RELAXED)) < j->parts) {
        const int64_t first = batch * part / j->parts;
        const int64_t end = batch * (part + 1) / j->parts;
        glimpse_rows(n, j->glimpse, first, end, n->columns + part * n->widest);
    }
}

/* The location network: mean = tanh(s V_l h). */
void locate(const network *n, const glimpse *g) {
    const float s = (float)n->location_scale;
    layer(&n->location, g->h, n->sensor.batch, s, s, -INFINITY, g->mean, 2);
    for (int64_t i = 0; i < 2 * n->sensor.batch; i++) g->mean[i] = tanhf(g->mean[i]);
}

/* One glimpse: from the sampled location to the cell's input product z = U g + b. */
void glimpse_step(const network *n, const glimpse *g) {
    job j = {n, g, least(n->threads, n->sensor.batch), 0};
    if (n->fork && j.parts > 1) n->fork(work, &j, (unsigned)j.parts, 0);
    else work(&j);
}

/* Packs all weights. */
void pack_weights(const network *n) {
    pack(&n->location);
    pack(&n->what);
    pack(&n->where);
    pack(&n->combine);
    pack(&n->input);
}
