/* Runs core/engines/c/kernel.c over many shapes with every array exactly as long as it must be, so
   that sanitizers and valgrind find reads and writes beyond it and reads of uninitialised memory.
   Some weights are infinite or NaN, which takes the kernel's other path. Built and run by
   benchmarks/c_memory.py. The last line printed is the number of cases and a sum over the results
   of those with finite weights. */

#include "../core/engines/c/kernel.c"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static double total;
static __thread int team_size = 1, rank = 0;

typedef struct {
    void (*work)(void *);
    void *argument;
    int threads, next;
} team_work;

static void *take_part(void *argument) {
    team_work *t = argument;
    team_size = t->threads, rank = __atomic_fetch_add(&t->next, 1, __ATOMIC_RELAXED);
    t->work(t->argument);
    team_size = 1;
    return NULL;
}

static void fork_team(void (*work)(void *), void *argument, unsigned threads,
                      unsigned flags) { /* as GOMP_parallel */
    pthread_t others[8];
    team_work t = {work, argument, (int)threads, 0};
    (void)flags;
    for (unsigned i = 1; i < threads; i++)
        if (pthread_create(&others[i], NULL, take_part, &t)) abort();
    take_part(&t);
    for (unsigned i = 1; i < threads; i++) pthread_join(others[i], NULL);
}

static int members(void) { return team_size; }
static int member_number(void) { return rank; }

static float *numbers(int64_t count, int fill) { /* random within -0.5..0.5, or uninitialised */
    float *x = NULL;
    if (posix_memalign((void **)&x, 64, 4 * (size_t)(count ? count : 1))) abort();
    for (int64_t i = 0; fill && i < count; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return x;
}

/* Reads all results, and adds the finite ones to the total. */
static void add(const float *x, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (x[i] - x[i] == 0) total += x[i];
}

typedef struct {
    int cell;
    int64_t steps, batch, hidden, input;
    int lengths, given, threads, odd;
} shape; /* given: how U x is; odd: W is not finite */
enum { ON_THE_TAPE, IN_A_TABLE, AS_X, AT_ONCE, GIVEN };

static void run_case(shape s) {
    const int64_t hidden = s.hidden, batch = s.batch,
                  gates = s.cell == RNN    ? 1
                          : s.cell == LSTM ? 4
                                           : 3,
                  wide = gates * hidden;
    const int64_t stride = s.cell == RNN ? hidden : wide + 3, entries = 5, begins = batch % 2;
    int64_t *sizes = malloc(8 * (size_t)s.steps), rows = 0;
    for (int64_t t = 0; t < s.steps; t++)
        rows += sizes[t] = s.lengths && t ? 1 + rand() % sizes[t - 1] : batch;
    layer l = {.cell = s.cell,
               .gate = SIGMOID,
               .hidden = hidden,
               .input = s.input,
               .stride = stride,
               .end = s.steps,
               .needs_d_start = 1,
               .threads = s.threads,
               .sizes = sizes,
               .parallel = fork_team,
               .team_size = members,
               .thread_number = member_number};
    const layout o = layout_of(&l, 0);
    l.packed = numbers(packed_size(o, hidden) + packed_size(o, s.input) + wide, 0);
    float *W = numbers(wide * hidden, 1), *U = numbers(wide * s.input, 1), *b = numbers(wide, 1),
          *b_W = numbers(hidden, 1);
    float *x = numbers(rows * s.input, 1), *table = numbers(entries * stride, 1),
          *dout = numbers(rows * hidden, 1);
    float *h_start = numbers(batch * hidden, 1), *c_start = numbers(batch * hidden, 1);
    float *h_end = numbers(batch * hidden, 0), *c_end = numbers(batch * hidden, 0);
    int64_t *which = malloc(8 * (size_t)rows);
    for (int64_t i = 0; i < rows; i++) which[i] = rand() % entries;
    if (s.odd) W[rand() % (wide * hidden)] = s.odd == 1 ? NAN : -INFINITY;
    l.W = W, l.b_W = batch % 2 ? b_W : NULL, l.h_end = h_end, l.c_end = c_end, l.dout = dout;
    if (begins || s.given != AT_ONCE) l.h_start = h_start, l.c_start = c_start;
    if (s.given == IN_A_TABLE) l.table_rows = which, l.table = table;
    if (s.given >= AS_X) l.x = x, l.U = U;
    if (s.given != IN_A_TABLE) l.b = batch % 3 ? b : NULL;
    float *tape = numbers(rows * stride, s.given == ON_THE_TAPE);
    float *h = s.cell == RNN && s.given != AT_ONCE ? tape : numbers(rows * hidden, 0);
    float *c = numbers(rows * hidden, 0), *q = numbers(rows * hidden, 0);
    l.gates = s.given == AT_ONCE ? NULL : tape, l.h = h, l.q = q;
    if (s.cell == LSTM && l.gates) l.c = c;
    if (s.given == ON_THE_TAPE) { /* by halves, as a closed loop does */
        l.end = (s.steps + 1) / 2, l.h_end = NULL, forward(&l);
        if (s.steps > l.end) l.begin = l.end, l.end = s.steps, forward(&l);
        l.begin = 0, l.end = s.steps;
    } else {
        forward(&l), add(h_end, batch * hidden);
        if (s.cell == LSTM) add(c_end, batch * hidden);
    }
    add(h, rows * hidden);
    if (l.gates) {
        float *dz = s.cell == RNN ? numbers(rows * stride, 0) : tape,
              *dq = batch % 3 ? q : numbers(rows * hidden, 0);
        float *dh = numbers(batch * hidden, 1), *dc = numbers(batch * hidden, 1);
        float *dx = numbers(rows * s.input, 0), *dU = numbers(wide * s.input, 0),
              *dW = numbers(wide * hidden, 0);
        float *db = numbers(wide, 0), *db_W = numbers(hidden, 0);
        l.dz = dz, l.dq = dq, l.dh = dh, l.dc = dc;
        const int few =
            s.given == AS_X && !s.lengths && hidden % LANES == 0 && s.input % LANES == 0;
        if (few) l.dx = dx, l.dU = dU, l.dW = dW, l.db = db, l.db_W = s.cell == GRU ? db_W : NULL;
        backward(&l);
        if (few)
            add(dx, rows * s.input), add(dU, wide * s.input), add(dW, wide * hidden), add(db, wide);
        add(dh, batch * hidden);
        for (int64_t i = 0; i < rows; i++) add(dz + i * stride, wide);
        if (s.cell == GRU) add(dq, rows * hidden);
        if (s.cell == LSTM) add(dc, batch * hidden);
        if (dq != q) free(dq);
        if (dz != tape) free(dz);
        free(dh), free(dc), free(dx), free(dU), free(dW), free(db), free(db_W);
    }
    if (h != tape) free(h);
    free(sizes), free(l.packed), free(W), free(U), free(b), free(b_W), free(x), free(table),
        free(dout), free(h_start);
    free(c_start), free(h_end), free(c_end), free(which), free(tape), free(c), free(q);
}

int main(void) {
    const int64_t hidden[] = {1, 3, 8, 15, 16, 17, 33, 64, 70, 130, 192, 320},
                  batch[] = {1, 2, 5, 6, 7, 13}, steps[] = {1, 2, 5};
    int cases = 0;
    for (int cell = RNN; cell <= GRU;
         cell++) /* threads that share units, and threads with rows of their own */
        for (int t = 1; t < 3; t++)
            for (int team = 0; team < 3; team++)
                for (int given = 0; given < GIVEN; given++, cases++) {
                    const int64_t sequences[] = {9, 1 + cases % 3, 1}, units[] = {20, 272, 320};
                    run_case((shape){cell, steps[t], sequences[team], units[team], 16, cases & 1,
                                     given, 3, cases % 3});
                }
    for (int cell = RNN; cell <= GRU; cell++)
        for (int h = 0; h < 12; h++)
            for (int b = 0; b < 6; b++)
                for (int t = 0; t < 3; t++)
                    for (int lengths = 0; lengths < 2; lengths++)
                        for (int given = 0; given < GIVEN; given++, cases++)
                            run_case((shape){cell, steps[t], batch[b], hidden[h],
                                             cases % 2 ? 16 : 1 + cases % 21, lengths, given, 1,
                                             cases % 5 > 2 ? 0 : cases % 5});
    printf("%d cases, sum %.6g\n", cases, total);
    return 0;
}
