/* Runs glimpse/fast/c/rollout.c over random shapes, every array exactly as long as it must be.

   benchmarks/c_memory.py builds and runs it. The last line printed is the number of cases and a sum
   over all results. */

#include "../glimpse/fast/c/rollout.c"

#include <stdio.h>
#include <stdlib.h>

static double total;

/* Returns a random number, low <= n <= high. */
static int64_t draw(int64_t low, int64_t high) { return low + rand() % (high - low + 1); }

static void *allocate(int64_t bytes) {
    void *x = NULL;
    if (posix_memalign(&x, 64, (size_t)(bytes ? bytes : 1))) abort();
    return x;
}

/* Returns `count` floats: within -0.5..0.5, or uninitialised. */
static float *floats(int64_t count, int initialised) {
    float *x = allocate(4 * count);
    for (int64_t i = 0; initialised && i < count; i++)
        x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return x;
}

static void add_up(const float *x, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (x[i] == x[i]) total += x[i]; /* NaN is passed on purpose */
}

static linear make_linear(int64_t in, int64_t out) {
    float *packed = floats(packed_size(in, out), 0);
    return (linear){in, out, floats(in * out, 1), floats(out, 1), packed};
}

static void free_linear(linear l) {
    free((void *)l.W);
    free((void *)l.b);
    free(l.packed);
}

/* Returns a sensor at a batch of images, each of a size of its own. */
static sensor make_sensor(int64_t batch) {
    static const double factors[] = {2, 3, 1.7, 8};
    sensor s = {batch, draw(1, 3), draw(1, 3), draw(1, 9), NULL, NULL, NULL};
    const double factor = factors[draw(0, 3)];
    int64_t *edges = allocate(8 * s.scales * (s.size + 1));
    double width = (double)s.size;
    for (int64_t k = 0; k < s.scales; k++, width *= factor)
        for (int64_t i = 0; i <= s.size; i++) {
            const double cell = (double)(int64_t)(width + 0.5) / (double)s.size;
            edges[k * (s.size + 1) + i] = (int64_t)((double)i * cell + 0.5);
        }
    int64_t *sizes = allocate(16 * batch);
    const uint8_t **images = allocate((int64_t)sizeof *images * batch);
    for (int64_t b = 0; b < batch; b++) {
        sizes[2 * b] = draw(1, 40);
        sizes[2 * b + 1] = draw(1, 40);
        const int64_t bytes = s.channels * sizes[2 * b] * sizes[2 * b + 1];
        uint8_t *image = allocate(bytes);
        for (int64_t i = 0; i < bytes; i++) image[i] = (uint8_t)rand();
        images[b] = image;
    }
    s.edges = edges;
    s.sizes = sizes;
    s.images = images;
    return s;
}

static void free_sensor(sensor s) {
    for (int64_t b = 0; b < s.batch; b++) free((void *)s.images[b]);
    free((void *)s.images);
    free((void *)s.sizes);
    free((void *)s.edges);
}

static void run_glimpse(void) {
    const int64_t batch = draw(1, 9);
    const int64_t what = draw(1, 70);
    const int64_t where = draw(1, 40);
    const int64_t units = draw(1, 70);
    const int64_t hidden = draw(1, 70);
    const int64_t stride = hidden + draw(0, 4);
    const sensor s = make_sensor(batch);
    const int64_t pixels = s.channels * s.scales * s.size * s.size;
    network n = {.sensor = s, .location_scale = 0.3, .input_scale = 0.5, .threads = draw(1, 3)};
    n.location = make_linear(hidden, 2);
    n.what = make_linear(pixels, what);
    n.where = make_linear(2, where);
    n.combine = make_linear(what + where, units);
    n.input = make_linear(units, hidden);
    n.widest = s.edges[s.scales * (s.size + 1) - 1];
    n.columns = allocate(4 * n.threads * n.widest);
    pack_weights(&n);
    float *h = floats(batch * hidden, 1);
    float *sampled = floats(2 * batch, 1);
    glimpse g = {.h = h, .sampled = sampled, .stride = stride};
    g.mean = floats(2 * batch, 0);
    g.location = floats(2 * batch, 0);
    g.patches = floats(batch * pixels, 0);
    g.parts = floats(batch * (what + where), 0);
    g.g = floats(batch * units, 0);
    g.z = floats((batch - 1) * stride + hidden, 0);
    locate(&n, &g);
    for (int64_t i = 0; i < 2 * batch; i++)
        sampled[i] = draw(0, 19) ? 3 * sampled[i] + g.mean[i] : NAN;
    glimpse_step(&n, &g);
    add_up(g.patches, batch * pixels);
    add_up(g.g, batch * units);
    float *buffers[] = {h, sampled, g.mean, g.location, g.patches, g.parts, g.g, g.z};
    for (int i = 0; i < 8; i++) free(buffers[i]);
    linear layers[] = {n.location, n.what, n.where, n.combine, n.input};
    for (int i = 0; i < 5; i++) free_linear(layers[i]);
    free(n.columns);
    free_sensor(s);
}

int main(void) {
    const int cases = 1000;
    for (int i = 0; i < cases; i++) run_glimpse();
    printf("%d cases, sum %.6g\n", cases, total);
    return 0;
}
