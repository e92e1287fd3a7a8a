/* Runs glimpse/looking.c over shapes drawn at random, every array exactly as long as it must be. Built and run by
   benchmarks/c_memory.py, which says what for. The last line printed is the number of cases and a sum over all
   results. */

#include "../glimpse/looking.c"

#include <stdio.h>
#include <stdlib.h>

static double total;

static int64_t draw(int64_t low, int64_t high) { return low + rand() % (high - low + 1); }

static void *room(int64_t bytes) {
    void *x = NULL;
    if (posix_memalign(&x, 64, (size_t)(bytes ? bytes : 1))) abort();
    return x;
}

static float *numbers(int64_t count, int fill) { /* filled with numbers within -0.5..0.5, or left as it comes */
    float *x = room(4 * count);
    for (int64_t i = 0; fill && i < count; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return x;
}

static void add_up(const float *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) total += x[i] == x[i] ? x[i] : 0; /* a place that is no number is no finding */
}

static linear make(int64_t in, int64_t out) {
    return (linear){in, out, numbers(in * out, 1), numbers(out, 1), numbers(packed_size(in, out), 0)};
}

static void drop(linear l) { free((void *)l.W), free((void *)l.b), free(l.packed); }

static retina make_retina(int64_t batch) {
    static const double factors[] = {2, 3, 1.7, 8};
    retina eye = {batch, draw(1, 3), draw(1, 40), draw(1, 40), draw(1, 3), draw(1, 9), NULL, NULL};
    const double factor = factors[draw(0, 3)];
    int64_t *edges = room(8 * eye.scales * (eye.size + 1)), bytes = batch * eye.channels * eye.height * eye.width;
    double width = (double)eye.size;
    for (int64_t k = 0; k < eye.scales; k++, width *= factor)
        for (int64_t i = 0; i <= eye.size; i++)
            edges[k * (eye.size + 1) + i] = (int64_t)((double)i * (double)(int64_t)(width + 0.5) / (double)eye.size + 0.5);
    uint8_t *images = room(bytes);
    for (int64_t i = 0; i < bytes; i++) images[i] = (uint8_t)rand();
    eye.edges = edges, eye.images = images;
    return eye;
}

static void look(void) {
    const int64_t batch = draw(1, 9), what = draw(1, 70), where = draw(1, 40), seen = draw(1, 70), hidden = draw(1, 70);
    const retina eye = make_retina(batch);
    const int64_t pixels = eye.channels * eye.scales * eye.size * eye.size, stride = hidden + draw(0, 4);
    looking l = {.eye = eye, .location_scale = 0.3, .input_scale = 0.5, .threads = draw(1, 3)};
    l.location = make(hidden, 2), l.what = make(pixels, what), l.where = make(2, where);
    l.combine = make(what + where, seen), l.input = make(seen, hidden);
    l.widest = eye.edges[eye.scales * (eye.size + 1) - 1];
    l.columns = room(4 * l.threads * l.widest);
    pack(&l);
    float *h = numbers(batch * hidden, 1), *chosen = numbers(2 * batch, 1);
    glimpse g = {.h = h, .chosen = chosen, .mean = numbers(2 * batch, 0), .location = numbers(2 * batch, 0),
                 .patches = numbers(batch * pixels, 0), .parts = numbers(batch * (what + where), 0),
                 .seen = numbers(batch * seen, 0), .z = numbers((batch - 1) * stride + hidden, 0), .stride = stride};
    aim(&l, &g);
    for (int64_t i = 0; i < 2 * batch; i++) chosen[i] = draw(0, 19) ? 3 * chosen[i] + g.mean[i] : NAN;
    glance(&l, &g);
    add_up(g.patches, batch * pixels), add_up(g.seen, batch * seen);
    free(h), free(chosen), free(g.mean), free(g.location), free(g.patches), free(g.parts), free(g.seen), free(g.z);
    drop(l.location), drop(l.what), drop(l.where), drop(l.combine), drop(l.input);
    free(l.columns), free((void *)eye.edges), free((void *)eye.images);
}

static void learn(void) {
    const int64_t glimpses = draw(1, 4), batch = draw(1, 9), classes = draw(1, 7), n = glimpses * batch;
    float *logits = numbers(n * classes, 1), *means = numbers(2 * n, 1), *baselines = numbers(n * classes, 1);
    float *chosen = numbers(2 * n, 1);
    int64_t *labels = room(8 * batch);
    for (int64_t b = 0; b < batch; b++) labels[b] = draw(0, classes - 1);
    objective o = {glimpses, batch, classes, 0.1, 0.999, logits, means, baselines, chosen, labels, numbers(n * classes, 0),
                   numbers(2 * n, 0), numbers(n * classes, 0), numbers(n, 0), numbers(n, 0), numbers(3, 0)};
    if (judge(&o)) abort();
    add_up(o.terms, 3), add_up(o.d_logits, n * classes), add_up(o.d_means, 2 * n), add_up(o.d_baselines, n * classes);
    free(logits), free(means), free(baselines), free(chosen), free(labels);
    free(o.d_logits), free(o.d_means), free(o.d_baselines), free(o.rewards), free(o.wrong_by), free(o.terms);
}

int main(void) {
    const int cases = 1000;
    for (int i = 0; i < cases; i++) look(), learn();
    printf("%d cases, sum %.6g\n", cases, total);
    return 0;
}
