/* What the retina sees, straight from bytes: the mean of every cell of every patch (glimpse/sensor.py).

   A patch is cut into strips of cells. Of a strip the rows are added up first, many columns at once; then each cell
   adds up its columns. Sums are whole numbers, so the means are exact. The vectors are those of the compiler (GCC,
   Clang). glimpse/compiled.py compiles this file and calls it. */

#include <stdint.h>
#include <string.h>

typedef struct { /* the fields of glimpse/compiled.py, in its order */
    int64_t batch, channels, height, width; /* of the images */
    int64_t scales, size;
    const int64_t *edges;  /* [scales, size + 1]: where cells begin and end, in pixels from the patch's corner */
    const uint8_t *images; /* [batch, channels, height, width] */
} retina;

#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif

static int64_t within(int64_t x, int64_t most) { return x < 0 ? 0 : x < most ? x : most; }

/* The first pixel of a patch of `side` pixels: the nearest whole one. The steps are those of sensor.py, each rounded
   by itself: a compiler might join two to one that rounds once, and where it is close the pixel would be another. */
static int64_t corner(float location, int64_t pixels, int64_t side) {
    volatile float centre = (location + 1) * (0.5f * (float)pixels);
    volatile float before = centre - 0.5f * (float)side;
    volatile float first = before + 0.5f;
    if (!(first > -1e9f && first < 1e9f)) return 0; /* not a number: weights that diverged fail in the loss */
    int64_t whole = (int64_t)first;
    return whole - (first < (float)whole);
}

/* add_N: add up rows of bytes, N columns at a time, the last N overlapping those before; 256 bytes fit 16 bits. */
#define ADD(N)                                                                                                  \
    typedef uint8_t bytes_##N __attribute__((vector_size(N)));                                                  \
    typedef uint16_t halves_##N __attribute__((vector_size(2 * N)));                                            \
    typedef uint32_t words_##N __attribute__((vector_size(4 * N)));                                             \
    INLINE void add_##N(uint32_t *to, const uint8_t *from, int64_t rows, int64_t stride, int64_t columns) {     \
        for (int64_t x = 0; x < columns; x += N) {                                                              \
            const int64_t at = x + N <= columns ? x : columns - N;                                              \
            words_##N sums = {0};                                                                               \
            for (int64_t row = 0; row < rows;) {                                                                \
                halves_##N part = {0};                                                                          \
                for (const int64_t until = within(row + 256, rows); row < until; row++) {                       \
                    bytes_##N pixels;                                                                           \
                    memcpy(&pixels, from + row * stride + at, N);                                               \
                    part += __builtin_convertvector(pixels, halves_##N);                                        \
                }                                                                                               \
                sums += __builtin_convertvector(part, words_##N);                                               \
            }                                                                                                   \
            memcpy(to + at, &sums, sizeof sums);                                                                \
        }                                                                                                       \
    }
ADD(1)
ADD(8)
ADD(16)
ADD(32)

static void add_rows(uint32_t *to, const uint8_t *from, int64_t rows, int64_t stride, int64_t columns) {
    if (columns >= 32) add_32(to, from, rows, stride, columns);
    else if (columns >= 16) add_16(to, from, rows, stride, columns);
    else if (columns >= 8) add_8(to, from, rows, stride, columns);
    else add_1(to, from, rows, stride, columns);
}

/* The means of a strip's cells, each `wide` columns and `high` rows. */
INLINE void means(float *restrict seen, const uint32_t *restrict columns, int64_t cells, int64_t wide, int64_t high) {
    const float factor = 1 / (float)(255 * high * wide);
    for (int64_t j = 0; j < cells; j++) {
        uint32_t sum = 0;
        for (int64_t x = 0; x < wide; x++) sum += columns[j * wide + x];
        seen[j] = (float)sum * factor;
    }
}

static void strip(const int64_t *edges, int64_t cells, int64_t high, const uint32_t *columns, float *seen) {
    switch (edges[cells] == cells * edges[1] ? edges[1] : 0) { /* equal cells of widths that the compiler knows */
    case 1: means(seen, columns, cells, 1, high); break;
    case 2: means(seen, columns, cells, 2, high); break;
    case 4: means(seen, columns, cells, 4, high); break;
    case 8: means(seen, columns, cells, 8, high); break;
    default:
        for (int64_t j = 0; j < cells; j++) means(seen + j, columns + edges[j], 1, edges[j + 1] - edges[j], high);
    }
}

static void patch(const retina *eye, const uint8_t *image, const int64_t *edges, int64_t left, int64_t top,
                  uint32_t *columns, float *seen) {
    const int64_t cells = eye->size, side = edges[cells];
    const int64_t lo = within(left, eye->width), hi = within(left + side, eye->width);
    memset(columns, 0, sizeof *columns * side); /* outside the image they stay so */
    for (int64_t i = 0; i < cells; i++) {
        const int64_t first = within(top + edges[i], eye->height), last = within(top + edges[i + 1], eye->height);
        add_rows(columns + (lo - left), image + first * eye->width + lo, last - first, eye->width, hi - lo);
        strip(edges, cells, edges[i + 1] - edges[i], columns, seen + i * cells);
    }
}

/* Images first <= b < end: locations [batch, 2] are x, y; seen [batch, channels, scales, size, size]; columns has room
   for the widest patch. */
void see(const retina *eye, int64_t first, int64_t end, const float *locations, uint32_t *columns, float *seen) {
    const int64_t cells = eye->size * eye->size, image = eye->height * eye->width;
    for (int64_t b = first; b < end; b++)
        for (int64_t k = 0; k < eye->scales; k++) {
            const int64_t *edges = eye->edges + k * (eye->size + 1), side = edges[eye->size];
            const int64_t left = corner(locations[2 * b], eye->width, side);
            const int64_t top = corner(locations[2 * b + 1], eye->height, side);
            for (int64_t c = 0; c < eye->channels; c++) {
                const int64_t n = b * eye->channels + c;
                patch(eye, eye->images + n * image, edges, left, top, columns, seen + (n * eye->scales + k) * cells);
            }
        }
}
