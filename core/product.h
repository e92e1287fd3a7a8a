/* A few rows times a panel of weights, summed up in registers: the vectors are those of the compiler (GCC, Clang), as
   wide as the machine's. */

#ifndef PRODUCT_H
#define PRODUCT_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16, ROWS = 6 }; /* ROWS x 4 sums, 4 weights and a factor fit the 32 registers */
#elif defined(__AVX__)
enum { LANES = 8, ROWS = 3 }; /* the same for 16 registers */
#elif defined(__aarch64__)
enum { LANES = 4, ROWS = 6 };
#else
enum { LANES = 4, ROWS = 2 };
#endif

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

INLINE vec choose(ints mask, vec yes, vec no) { return (vec)((mask & (ints)yes) | (~mask & (ints)no)); }

/* sum[row][v] = the sum over k < depth of a[row][k] * panel[k][v], `rows` and `wide` known to the compiler. */
INLINE void tile(const int rows, const int wide, const float *a, int64_t stride, const float *panel, int64_t depth,
                 vec (*sums)[4]) {
    vec sum[ROWS][4];
    const vec *weights = (const vec *)panel;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < wide; v++) sum[r][v] = (vec){0};
    for (int64_t k = 0; k < depth; k++, weights += wide) {
        for (int v = 0; v < wide; v++) __builtin_prefetch(weights + v + 16 * wide);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < wide; v++) sum[r][v] += weights[v] * a[r * stride + k];
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < wide; v++) sums[r][v] = sum[r][v];
}

static void product(int rows, int wide, const float *a, int64_t stride, const float *panel, int64_t depth,
                    vec (*sums)[4]) {
#define CASE(r, w) case 4 * r + w - 1: tile(r, w, a, stride, panel, depth, sums); break;
#define ROW(r) CASE(r, 1) CASE(r, 2) CASE(r, 3) CASE(r, 4)
    switch (4 * rows + wide - 1) {
        ROW(1) ROW(2)
#if defined(__AVX__) || defined(__aarch64__)
        ROW(3)
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
        ROW(4) ROW(5) ROW(6)
#endif
    }
#undef ROW
#undef CASE
}

#endif
