/* The glimpse sensor on images of bytes: the mean of every cell of every patch (glimpse/sensor.py).

   A patch is cut into strips of cells. The rows of a strip are added up first, many columns at
   once; then each cell adds up its columns. Sums are integers, so the means are exact. Only the
   pixels of the patches are read: the cost does not grow with the image. glimpse/fast/compiled.py
   compiles and calls this file. */

#include <stdint.h>
#include <string.h>

typedef struct { /* the fields of `compiled.Sensor`, in its order */
    int64_t batch, channels;
    int64_t scales, size;
    const int64_t *edges;         /* [scales, size + 1]: borders of the cells, in pixels */
    const int64_t *sizes;         /* [batch, 2]: height and width of each image */
    const uint8_t *const *images; /* [batch] pointers to [channels, height, width] */
} sensor;

#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif

static int64_t clamp(int64_t x, int64_t most) { return x < 0 ? 0 : x < most ? x : most; }

/* Returns the first pixel of a patch of `side` pixels, rounded to the nearest whole one. The steps
   are those of sensor.py. Each is rounded on its own (volatile): fused operations could round to
   another pixel. */
static int64_t corner(float location, int64_t pixels, int64_t side) {
    volatile float centre = (location + 1) * (0.5f * (float)pixels);
    volatile float start = centre - 0.5f * (float)side;
    volatile float first = start + 0.5f;
    if (!(first > -1e9f && first < 1e9f)) return 0; /* NaN is reported by the loss */
    int64_t whole = (int64_t)first;
    return whole - (first < (float)whole);
}

/* add_N adds up rows of bytes, N columns at a time; the last N columns overlap those before. The
   sum of 256 bytes fits 16 bits. */
#define ADD(N)                                                                                    \
    typedef uint8_t bytes_##N __attribute__((vector_size(N)));                                    \
    typedef uint16_t halves_##N __attribute__((vector_size(2 * N)));                              \
    typedef uint32_t words_##N __attribute__((vector_size(4 * N)));                               \
    INLINE void add_##N(uint32_t *to, const uint8_t *from, int64_t rows, int64_t stride,          \
                        int64_t columns) {                                                        \
        for (int64_t x = 0; x < columns; x += N) {                                                \
            const int64_t at = x + N <= columns ? x : columns - N;                                \
            words_##N sums = {0};                                                                 \
            for (int64_t row = 0; row < rows;) {                                                  \
                halves_##N part = {0};                                                            \
                for (const int64_t until = clamp(row + 256, rows); row < until; row++) {          \
                    bytes_##N pixels;                                                             \
                    memcpy(&pixels, from + row * stride + at, N);                                 \
                    part += __builtin_convertvector(pixels, halves_##N);                          \
                }                                                                                 \
                sums += __builtin_convertvector(part, words_##N);                                 \
            }                                                                                     \
            memcpy(to + at, &sums, sizeof sums);                                                  \
        }                                                                                         \
    }
ADD(1)
ADD(8)
ADD(16)
ADD(32)

static void add_rows(uint32_t *to, const uint8_t *from, int64_t rows, int64_t stride,
                     int64_t columns) {
    if (columns >= 32) add_32(to, from, rows, stride, columns);
    else if (columns >= 16) add_16(to, from, rows, stride, columns);
    else if (columns >= 8) add_8(to, from, rows, stride, columns);
    else add_1(to, from, rows, stride, columns);
}

/* Writes the means of a strip's cells, each `width` columns and `height` rows. */
INLINE void means(float *restrict patch, const uint32_t *restrict columns, int64_t cells,
                  int64_t width, int64_t height) {
    const float factor = 1 / (float)(255 * height * width);
    for (int64_t j = 0; j < cells; j++) {
        uint32_t sum = 0;
        for (int64_t x = 0; x < width; x++) sum += columns[j * width + x];
        patch[j] = (float)sum * factor;
    }
}

static void strip(const int64_t *edges, int64_t cells, int64_t height, const uint32_t *columns,
                  float *patch) {
    const int equal = edges[cells] == cells * edges[1];
    switch (equal ? edges[1] : 0) { /* equal cells of a width that is known to the compiler */
    case 1: means(patch, columns, cells, 1, height); break;
    case 2: means(patch, columns, cells, 2, height); break;
    case 4: means(patch, columns, cells, 4, height); break;
    case 8: means(patch, columns, cells, 8, height); break;
    default:
        for (int64_t j = 0; j < cells; j++)
            means(patch + j, columns + edges[j], 1, edges[j + 1] - edges[j], height);
    }
}

/* Writes one patch of one channel; pixels outside the image count as 0. */
static void extract_patch(const uint8_t *image, int64_t height, int64_t width,
                          const int64_t *edges, int64_t cells, int64_t left, int64_t top,
                          uint32_t *columns, float *patch) {
    const int64_t side = edges[cells];
    const int64_t first_column = clamp(left, width);
    const int64_t last_column = clamp(left + side, width);
    memset(columns, 0, sizeof *columns * (size_t)side);
    for (int64_t i = 0; i < cells; i++) {
        const int64_t first_row = clamp(top + edges[i], height);
        const int64_t last_row = clamp(top + edges[i + 1], height);
        add_rows(columns + (first_column - left), image + first_row * width + first_column,
                 last_row - first_row, width, last_column - first_column);
        strip(edges, cells, edges[i + 1] - edges[i], columns, patch + i * cells);
    }
}

/* Extracts the patches of images first <= b < end at locations [batch, 2] (x, y) into `patches`,
   [batch, channels, scales, size, size]. `columns` is a scratch buffer as long as the widest
   patch. */
void extract(const sensor *s, int64_t first, int64_t end, const float *locations,
             uint32_t *columns, float *patches) {
    const int64_t cells = s->size * s->size;
    for (int64_t b = first; b < end; b++) {
        const int64_t height = s->sizes[2 * b];
        const int64_t width = s->sizes[2 * b + 1];
        for (int64_t k = 0; k < s->scales; k++) {
            const int64_t *edges = s->edges + k * (s->size + 1);
            const int64_t side = edges[s->size];
            const int64_t left = corner(locations[2 * b], width, side);
            const int64_t top = corner(locations[2 * b + 1], height, side);
            for (int64_t c = 0; c < s->channels; c++) {
                float *patch = patches + ((b * s->channels + c) * s->scales + k) * cells;
                const uint8_t *image = s->images[b] + c * height * width;
                extract_patch(image, height, width, edges, s->size, left, top, columns, patch);
            }
        }
    }
}
