/* The products over all steps of a small batch: U x + b before the first step, and after the last
   dx, dU, dW and the biases' gradients (core/engines/products.py has them for many rows). A BLAS
   would copy U, which is larger than all rows together. */

#ifndef SMALL_BATCH_H
#define SMALL_BATCH_H

#include "layer.h"

/* The height of tiles of nearly equal heights. */
static int tile_rows(int64_t rows) {
    int64_t tiles = (rows + ROWS - 1) / ROWS;
    return tiles ? (int)((rows + tiles - 1) / tiles) : 1;
}

static int is_zero(const float *h, int64_t count) {
    int64_t i = 0;
    while (h && i < count && h[i] == 0) i++;
    return !h || i == count;
}

/* Up to LANES columns of U x + b, with U in place: 4 rows at a time, then the remaining ones one by
   one. Prefetches `next`, LANES rows of U and of W, while multiplying: with each product as much as
   a row of x is long. */
static void project(const layer *l, int64_t rows, int64_t column, int columns,
                    const float *const next[2]) {
    const int64_t M = l->input;
    const int some = LANES / 4;
    const vec b = l->b ? load(l->b + column, columns) : (vec){0};
    int64_t row = 0, done = 0;
    for (float *z = l->gates + column; row < rows; z = l->gates + row * l->stride + column) {
        const float *x = l->x + row * M, *U = l->U + column * M;
        vec sums[4] = {{0}};
        const int together = row + 4 <= rows ? 4 : 1;
        for (int c = 0; c < together && c * some < columns; c++, done += M) {
            const float *prefetches[2] = {done < LANES * M ? next[0] + done : NULL,
                                          next[1] && done < LANES * l->hidden ? next[1] + done
                                                                              : NULL};
            if (together == 4)
                sums[c] = dots(4, x, M, U + c * some * M, M, columns - c * some, M, prefetches);
            else sums[c] = dots(1, x, M, U, M, columns, M, prefetches);
        }
        if (together == 4) transpose(4, sums);
        for (int r = 0; r < together; r++) store(z + r * l->stride, sums[r] + b, columns);
        row += together;
    }
}

/* dz [depth, stride] and v [depth, width]. */
typedef struct {
    const float *dz, *v;
    int64_t stride, width, depth;
} pair;

/* Writes the sum over pairs of dz^T v to `to` [rows, width], for `rows` columns of dz. */
static void outer(const pair *pairs, int count, float *to, int rows) {
    const int64_t width = pairs->width;
    for (int64_t j = 0; j < width; j += 4 * LANES) {
        const int wide = (int)least(4, (width - j) / LANES);
        const float *next = j + 4 * LANES < width ? to + j + 4 * LANES : to + rows * width;
        prefetch_list prefetches;
        prefetches.count = 0;
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < wide; i++)
                prefetch_later(&prefetches, next + r * width + i * LANES);
        for (const pair *p = pairs; p < pairs + count; p++)
            product_across(rows, wide, p->dz, p->stride, (panel){p->v + j, width}, p->depth, to + j,
                           width, p > pairs, &prefetches);
    }
}

static float column_sum(const float *at, int64_t stride, int64_t rows) {
    float sum = 0;
    for (int64_t k = 0; k < rows; k++) sum += at[k * stride];
    return sum;
}

/* What dz^T h adds to `to` for a zero state h: nothing, but NaN where dz is infinite or NaN. */
static void add_zero_products(const float *dz, int64_t stride, int64_t depth, float *to,
                              int64_t width, int rows) {
    for (int r = 0; r < rows; r++) {
        float product = 0;
        for (int64_t k = 0; k < depth; k++) product += 0 * dz[k * stride + r];
        for (int64_t j = 0; j < width && product != product; j++) to[r * width + j] = product;
    }
}

/* dU, dW and db of some rows of a gate, over few steps of sequences of one length. */
static void weight_gradients(const layer *l, int64_t steps, int zero_start, int gate, int64_t unit,
                             int rows) {
    const int64_t H = l->hidden, batch = l->sizes[0], column = gate * H + unit;
    const int reset = l->cell == GRU && gate == 2;
    const float *dz = l->dz + column, *dq = reset ? l->dq + unit : dz;
    const int64_t stride = reset ? H : l->stride;
    const pair inputs = {dz, l->x, l->stride, l->input, steps * batch};
    const pair states[] = {{dq + batch * stride, l->h, stride, H, (steps - 1) * batch},
                           {dq, l->h_start, stride, H, batch}};
    if (l->dU) outer(&inputs, 1, l->dU + column * l->input, rows);
    if (l->dW) outer(states, zero_start ? 1 : 2, l->dW + column * H, rows);
    if (l->dW && zero_start) add_zero_products(dq, stride, batch, l->dW + column * H, H, rows);
    for (int i = 0; i < rows && l->db; i++)
        l->db[column + i] = column_sum(dz + i, l->stride, steps * batch);
    for (int i = 0; i < rows && l->db_W && reset; i++)
        l->db_W[unit + i] = column_sum(dq + i, stride, steps * batch);
}

/* dx = dz U, 4 * LANES columns of it. */
static void input_gradient(const layer *l, int64_t rows, int64_t column) {
    const int64_t M = l->input;
    const int wide = (int)least(4, (M - column) / LANES), height = tile_rows(rows);
    for (int64_t row = 0; row < rows; row += height) {
        vec sums[ROWS][4];
        const int some = (int)least(height, rows - row);
        const panel weights = {l->U + column, M};
        product(some, wide, l->dz + row * l->stride, l->stride, weights, layout_of(l, 1).depth,
                sums, 0, &no_prefetches);
        for (int r = 0; r < some; r++)
            for (int v = 0; v < wide; v++)
                store(l->dx + (row + r) * M + column + v * LANES, sums[r][v], LANES);
    }
}

static void gradients(const layer *l, member *m) {
    const int64_t H = l->hidden, rows = l->end * l->sizes[0], gates = layout_of(l, 0).gates;
    for (int64_t j = 4 * LANES * m->me; l->dx && j < l->input; j += 4 * LANES * m->team)
        input_gradient(l, rows, j);
    if (!l->dU && !l->dW && !l->db && !l->db_W) return;
    const int zero_start = is_zero(l->h_start, l->sizes[0] * H);
    const int64_t some = 4 * ROWS, parts = (H + some - 1) / some; /* of a gate */
    for (int64_t part; (part = next_part(m, gates * parts)) >= 0;)
        for (int64_t unit = part % parts * some; unit < least(H, (part % parts + 1) * some);
             unit += ROWS)
            weight_gradients(l, l->end, zero_start, (int)(part / parts), unit,
                             (int)least(ROWS, H - unit));
}

#endif
