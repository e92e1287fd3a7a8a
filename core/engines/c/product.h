/* A few rows times a panel of weights, summed in registers, with the vector types of GCC and Clang,
   which are as wide as the machine's. */

#ifndef PRODUCT_H
#define PRODUCT_H

#include <stdint.h>
#include <string.h>
#if defined(__FMA__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* LANES: floats of a vector. A tile is at most ROWS high and 4 vectors wide; one of more than FOURS
   rows is summed in two passes of 2 vectors, so that its sums, weights and a factor fit the
   registers: 32 of them, or 16. */
#if defined(__AVX512F__)
enum { LANES = 16, ROWS = 6, FOURS = 6 };
#elif defined(__AVX__)
enum { LANES = 8, ROWS = 6, FOURS = 3 };
#elif defined(__aarch64__)
enum { LANES = 4, ROWS = 6, FOURS = 6 };
#else
enum { LANES = 4, ROWS = 2, FOURS = 2 };
#endif

enum { LINE = 16 }; /* floats of a cache line */

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef float unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vec load(const float *from, int count) {
    if (count == LANES) return *(const unaligned *)from;
    vec x = {0};
    memcpy(&x, from, 4 * count);
    return x;
}

INLINE void store(float *to, vec x, int count) {
    if (count == LANES) *(unaligned *)to = x;
    else memcpy(to, &x, 4 * count);
}

INLINE vec choose(ints mask, vec yes, vec no) {
    return (vec)((mask & (ints)yes) | (~mask & (ints)no));
}

/* a * b + c with one rounding, where the machine has such an instruction.

   Written out because GCC, left to itself, fuses the multiplication and the addition of some loops
   and not of others on processors for which it holds chains of fused operations to be slow: the
   bits would depend on the batch. */
INLINE vec multiply_add(vec a, vec b, vec c) {
#if defined(__AVX512F__) && defined(__FMA__)
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX__) && defined(__FMA__)
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

/* Selects lanes of u and v by number; those of v are LANES .. 2 * LANES - 1. */
INLINE vec shuffle(vec u, vec v, ints lanes) {
#ifdef __clang__
    vec x;
    for (int l = 0; l < LANES; l++) x[l] = lanes[l] < LANES ? u[lanes[l]] : v[lanes[l] - LANES];
    return x;
#else
    return __builtin_shuffle(u, v, lanes);
#endif
}

INLINE ints lane_numbers(void) {
    ints lane;
    for (int l = 0; l < LANES; l++) lane[l] = l;
    return lane;
}

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Whether all lanes are 0; a NaN is not. */
INLINE int all_zero(vec x) {
    float sum = 0;
    for (int l = 0; l < LANES; l++) sum += x[l];
    return sum == 0;
}

/* Addresses of cache lines that are needed after a product. */
typedef struct {
    const float *at[ROWS * 4 * 7];
    int count;
} prefetch_list;

INLINE void prefetch_later(prefetch_list *prefetches, const float *at) {
    prefetches->at[prefetches->count++] = at;
}

static const prefetch_list no_prefetches;
static const float *const no_next[2] = {0}; /* nothing for `dots` to prefetch */

/* Weights of some columns; those of row k + 1 lie `stride` floats after those of row k. */
typedef struct {
    const float *at;
    int64_t stride;
} panel;

/* sums[row][v] (+)= the sum over k < depth of a[row][k] * weights[k][v]; `rows` and `wide` are
   constants to the compiler. `stride` is from row to row of a or, if a is transposed (`across`),
   from k to k. With a `shift` each row has weights of its own, that far apart.

   Prefetches are interleaved with the products: issued all at once they would stall the weight
   loads. */
INLINE void tile(const int rows, const int wide, const float *a, int64_t stride, const int across,
                 const int shift, panel weights, int64_t depth, float *sums, int64_t wide_sums,
                 int add, const prefetch_list *prefetches) {
    const int every =
        across ? 1 : 4; /* a transposed product is as deep as there are rows, which are few */
    vec sum[ROWS][4];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < wide; v++)
            sum[r][v] = add ? load(sums + r * wide_sums + v * LANES, LANES) : (vec){0};
    for (int64_t k = 0; k < depth; k++, weights.at += weights.stride) {
        for (int v = 0; v < wide && !shift && !across; v += LINE / LANES)
            __builtin_prefetch(weights.at + v * LANES + 16 * weights.stride);
        if (k % every == 0 && k / every < prefetches->count)
            __builtin_prefetch(prefetches->at[k / every], 1);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < wide; v++) {
                const vec factor = a[across ? k * stride + r : r * stride + k] - (vec){0};
                sum[r][v] = multiply_add(load(weights.at + r * shift + v * LANES, LANES), factor,
                                         sum[r][v]);
            }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < wide; v++) store(sums + r * wide_sums + v * LANES, sum[r][v], LANES);
}

#define CASE(r, w, across, to, wide_to) \
    case 4 * r + w - 1: \
        tile(r, w, a, stride, across, 0, weights, depth, to, wide_to, add, prefetches); \
        break;
#define PAIR(r, ...) CASE(r, 1, __VA_ARGS__) CASE(r, 2, __VA_ARGS__)
#define FOUR(r, ...) PAIR(r, __VA_ARGS__) CASE(r, 3, __VA_ARGS__) CASE(r, 4, __VA_ARGS__)
#if defined(__AVX512F__) || defined(__aarch64__)
#define LOW(...) FOUR(1, __VA_ARGS__) FOUR(2, __VA_ARGS__) FOUR(3, __VA_ARGS__)
#define HIGH(...) FOUR(4, __VA_ARGS__) FOUR(5, __VA_ARGS__) FOUR(6, __VA_ARGS__)
#elif defined(__AVX__)
#define LOW(...) FOUR(1, __VA_ARGS__) FOUR(2, __VA_ARGS__) FOUR(3, __VA_ARGS__)
#define HIGH(...) PAIR(4, __VA_ARGS__) PAIR(5, __VA_ARGS__) PAIR(6, __VA_ARGS__)
#else
#define LOW(...) FOUR(1, __VA_ARGS__) FOUR(2, __VA_ARGS__)
#define HIGH(...)
#endif
#define ALL(...) LOW(__VA_ARGS__) HIGH(__VA_ARGS__)

/* The tile's sums, in rows of 4 vectors. */
static void product(int rows, int wide, const float *a, int64_t stride, panel weights,
                    int64_t depth, vec (*sums)[4], int add, const prefetch_list *prefetches) {
    if (rows > FOURS && wide > 2) {
        product(rows, 2, a, stride, weights, depth, sums, add, prefetches);
        weights.at += 2 * LANES;
        product(rows, wide - 2, a, stride, weights, depth, (vec(*)[4])(*sums + 2), add,
                &no_prefetches);
        return;
    }
    switch (4 * rows + wide - 1) { ALL(0, (float *)sums, 4 * LANES) }
}

/* The same for a transposed a, a[k][row] with `stride` from k to k; the sums go to rows of `to`. */
__attribute__((unused)) static void product_across(int rows, int wide, const float *a,
                                                   int64_t stride, panel weights, int64_t depth,
                                                   float *to, int64_t wide_to, int add,
                                                   const prefetch_list *prefetches) {
    if (rows > FOURS && wide > 2) {
        product_across(rows, 2, a, stride, weights, depth, to, wide_to, add, prefetches);
        weights.at += 2 * LANES;
        product_across(rows, wide - 2, a, stride, weights, depth, to + 2 * LANES, wide_to, add,
                       &no_prefetches);
        return;
    }
    switch (4 * rows + wide - 1) { ALL(1, to, wide_to) }
}

/* One row times up to MOST_FOURS times 4 adjacent vectors of weights. */
enum { MOST_FOURS = FOURS < 4 ? FOURS : 4 }; /* whose sums fit the registers */
__attribute__((unused)) static void product_of_row(int fours, const float *a, panel weights,
                                                   int64_t depth, float *sums, int add) {
#define SIDE_BY_SIDE(p) \
    case p: \
        tile(p, 4, a, 0, 0, 4 * LANES, weights, depth, sums, 4 * LANES, add, &no_prefetches); \
        break;
    switch (fours) {
        SIDE_BY_SIDE(1)
        SIDE_BY_SIDE(2)
#if defined(__AVX__) || defined(__aarch64__)
            SIDE_BY_SIDE(3)
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
                SIDE_BY_SIDE(4)
#endif
    }
#undef SIDE_BY_SIDE
}

#undef ALL
#undef HIGH
#undef LOW
#undef FOUR
#undef PAIR
#undef CASE

/* Adds a[r][k] * b[c][k] for `count` adjacent k to sum[r * columns + c], where `columns` is LANES /
 * rows. */
INLINE void add_products(const int rows, const float *a, int64_t a_stride, const float *b,
                         int64_t b_stride, int valid, int count, vec *sum) {
    const int columns = LANES / rows;
#pragma GCC unroll 16
    for (int c = 0; c < columns; c++) {
        const vec weights = load(b + (c < valid ? c : 0) * b_stride, count);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            vec *to = sum + r * columns + c;
            *to = multiply_add(weights, load(a + r * a_stride, count), *to);
        }
    }
}

/* Returns in lane r * columns + c the sum over k < depth of a[r][k] * b[c][k], with as many columns
   as make LANES sums. b has `valid` rows; lanes of the others are unspecified. Meanwhile `depth`
   floats at each `next`, or NULL, are prefetched into the second-level cache, line by line. */
INLINE vec dots(const int rows, const float *a, int64_t a_stride, const float *b, int64_t b_stride,
                int valid, int64_t depth, const float *const next[2]) {
    const int columns = LANES / rows;
    vec sum[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) sum[i] = (vec){0};
    int64_t k = 0;
    if (valid >= columns)
        for (; k + LANES <= depth; k += LANES) {
            for (int i = 0; i < 2; i++)
                if (next[i]) __builtin_prefetch(next[i] + k, 0, 1);
            add_products(rows, a + k, a_stride, b + k, b_stride, columns, LANES, sum);
        }
    else
        for (; k + LANES <= depth; k += LANES)
            add_products(rows, a + k, a_stride, b + k, b_stride, valid, LANES, sum);
    if (k < depth)
        add_products(rows, a + k, a_stride, b + k, b_stride, valid, (int)(depth - k), sum);
    const ints lane = lane_numbers();
#pragma GCC unroll 4
    for (int half = LANES / 2; half; half /= 2) /* add pairs of lanes, of two vectors into one */
#pragma GCC unroll 8
        for (int i = 0; i < half; i++) {
            const ints odd = (lane & half) != 0, second = odd & LANES, other = lane ^ half;
            sum[i] = shuffle(sum[i], sum[i + half], lane + second) +
                     shuffle(sum[i], sum[i + half], other + second);
        }
    return sum[0];
}

/* Transposes a square of `rows` rows, each of which is cut into `rows` pieces. */
INLINE void transpose(const int rows, vec *row) {
    const ints lane = lane_numbers();
#pragma GCC unroll 4
    for (int far = rows / 2, half = LANES / 2; far; far /= 2, half /= 2)
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            if (i & far) continue;
            const ints odd = (lane & half) != 0, second = odd & LANES;
            const vec u = row[i], v = row[i + far];
            row[i] = shuffle(u, v, (lane ^ (odd & half)) + second);
            row[i + far] = shuffle(u, v, (lane ^ (~odd & half)) + second);
        }
}

#endif
