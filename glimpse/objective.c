/* The terms of glimpse/objective.py and their gradients, one image after another; its equations are the ones there. */

#include <math.h>
#include <stdint.h>

typedef struct { /* the fields of glimpse/compiled.py, in its order */
    int64_t glimpses, batch, classes;
    double std, sure;
    const float *logits, *means, *baselines, *chosen; /* [glimpses, batch, ...] */
    const int64_t *labels;                            /* [batch] */
    float *d_logits, *d_means, *d_baselines;          /* like what they belong to */
    float *rewards, *wrong_by;                        /* [glimpses, batch]: r and b - R = -A */
    float *terms;                                     /* cross-entropy, REINFORCE, baseline */
} objective;

/* d = p - [y] from the logits z; the log-probability of y. */
static float softmax(const float *z, int64_t classes, int64_t right, float *d) {
    float most = z[0], sum = 0;
    for (int64_t k = 1; k < classes; k++) most = z[k] > most ? z[k] : most;
    for (int64_t k = 0; k < classes; k++) sum += d[k] = expf(z[k] - most);
    for (int64_t k = 0; k < classes; k++) d[k] /= sum;
    d[right] -= 1;
    return z[right] - most - logf(sum);
}

int judge(const objective *o) { /* 0, or 1 for a label that is no class */
    for (int64_t b = 0; b < o->batch; b++) if (o->labels[b] < 0 || o->labels[b] >= o->classes) return 1;
    const int64_t n = o->glimpses * o->batch;
    const float variance = (float)(o->std * o->std), share = 1 / (float)n;
    double entropy = 0, reinforce = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) { /* i: a glimpse of an image */
        float *d = o->d_logits + i * o->classes;
        const float log_p = softmax(o->logits + i * o->classes, o->classes, o->labels[i % o->batch], d);
        for (int64_t k = 0; k < o->classes; k++) d[k] *= share;
        o->rewards[i] = expf(log_p);
        entropy -= log_p;
    }
    for (int64_t b = 0; b < o->batch; b++) {
        float all = 0; /* rewards from t on */
        for (int64_t t = o->glimpses - 1; t >= 0; t--) {
            const int64_t i = t * o->batch + b, at = i * o->classes + o->labels[b];
            const float before = t ? o->rewards[i - o->batch] : 1 / (float)o->classes, sure = (float)o->sure;
            const float p = before < sure ? before : sure;
            const float expected = 1 / (1 + expf(-logf(p / (1 - p)) - o->baselines[at]));
            all += o->rewards[i];
            const float wrong_by = o->wrong_by[i] = expected - all / (float)(o->glimpses - t);
            for (int64_t k = 0; k < o->classes; k++) o->d_baselines[i * o->classes + k] = 0;
            o->d_baselines[at] = 2 * share * wrong_by * expected * (1 - expected);
            squares += wrong_by * wrong_by;
        }
    }
    const float unit = (sqrtf((float)squares * share) + 1e-3f) * (float)n * variance;
    for (int64_t i = 0; i < 2 * n; i++) {
        const float off = o->chosen[i] - o->means[i];
        o->d_means[i] = o->wrong_by[i / 2] / unit * off;
        reinforce -= o->d_means[i] * off / 2;
    }
    o->terms[0] = (float)entropy * share, o->terms[1] = (float)reinforce, o->terms[2] = (float)squares * share;
    return 0;
}
