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

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

typedef struct { const float *at[ROWS * 4 * 7]; int count; } lines; /* of memory that are needed next */

INLINE void ask(lines *soon, const float *at) { soon->at[soon->count++] = at; }

typedef struct { const float *at; int64_t stride; } panel; /* its weights of unit k + 1 lie `stride` after those of k */

/* sum[row][v] (+)= the sum over k < depth of a[row][k] * weights[k][v], `rows` and `wide` known to the compiler.
   Meanwhile the lines that are needed afterwards come from memory, a few at a time: all at once they would
   hold up the weights. */
INLINE void tile(const int rows, const int wide, const float *a, int64_t stride, panel weights, int64_t depth,
                 vec (*sums)[4], int add, const lines *soon) {
    vec sum[ROWS][4];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < wide; v++) sum[r][v] = add ? sums[r][v] : (vec){0};
    for (int64_t k = 0; k < depth; k++, weights.at += weights.stride) {
        for (int v = 0; v < wide; v++) __builtin_prefetch(weights.at + v * LANES + 16 * weights.stride);
        if (k % 4 == 0 && k / 4 < soon->count) __builtin_prefetch(soon->at[k / 4], 1);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < wide; v++) sum[r][v] += load(weights.at + v * LANES, LANES) * a[r * stride + k];
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < wide; v++) sums[r][v] = sum[r][v];
}

static void product(int rows, int wide, const float *a, int64_t stride, panel weights, int64_t depth,
                    vec (*sums)[4], int add, const lines *soon) {
#define CASE(r, w) case 4 * r + w - 1: tile(r, w, a, stride, weights, depth, sums, add, soon); break;
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
