/* Matrices times many tokens in bfloat16: 16 tokens are the lanes of a vector, and stand in a `block` together. */
#pragma once
#include "model.h"
#include "products.h"
#include "threads.h"
#include "tiles.h"

#ifdef MANY
#define CACHED (768 << 10) /* bytes of tokens that are read again for each of the outputs */
#define NEAR 8             /* steps of weights that stand in the nearest cache */
#define FEW 4              /* blocks up to which that is not worth it */
#define LINE 64

/* Blocks of tokens that take part: `number[0]` to `number[count - 1]`. */
typedef struct { const int64_t *number; int64_t count; } blocks;

INLINE int64_t part_of(int64_t all, int64_t mine, int64_t of) { return all * mine / of; }

/* How many of so many blocks meet the weights together: equal parts of them, in twos, that stand in the cache. */
INLINE int64_t at_once(int64_t inputs, int64_t count) {
    int64_t most = CACHED / (LINE / 2 * inputs) / 2, pairs = (count + 1) / 2;
    if (most < 1) most = 1;
    int64_t times = (pairs + most - 1) / most;
    return times ? 2 * ((pairs + times - 1) / times) : 2;
}

/* The weights of the next outputs, asked for in equal shares while these meet all tokens that stand in the cache. */
INLINE soon coming(const char *first, const char *second, int64_t blocks) {
    int64_t squares = (blocks + 1) / 2;
    return (soon){first, second, (SIDE + squares - 1) / squares};
}

/* to [block][output][lane], set or added to, of from [block][steps][pairs][lane]; this worker's outputs. Of many
   tokens NEAR x DEEP inputs are summed at a time: that much of the weights stands in the nearest cache. */
static void products(const matrix *by, int64_t inputs, const pair *from, blocks some, float *to, int fresh,
                     worker one) {
    int64_t steps = inputs / DEEP, units = by->outputs / DEEP, together = at_once(inputs, some.count);
    for (int64_t begin = 0; begin < some.count; begin += together) {
        int64_t end = begin + together < some.count ? begin + together : some.count;
        int64_t deep = end - begin > FEW ? NEAR : steps;
        for (int64_t n = part_of(units, one.mine, one.of); n < part_of(units, one.mine + 1, one.of); n++) {
            const char *weight = (const char *)by->weight + n * DEEP * inputs * 2;
            soon next = coming(weight + DEEP * inputs * 2, weight + (DEEP + SIDE) * inputs * 2, end - begin);
            for (int64_t k = 0; k < steps; k += deep)
                for (int64_t i = begin; i < end; i += 2) {
                    int columns = i + 1 < end ? 2 : 1;
                    int64_t block = some.number[i], other = some.number[i + columns - 1];
                    int64_t some_of = steps - k < deep ? steps - k : deep;
                    float *low = to + (block * by->outputs + n * DEEP) * SIDE;
                    float *high = to + (other * by->outputs + n * DEEP) * SIDE;
                    float *found[4] = {low, high, low + STEP, high + STEP};
                    const pair *x = from + (block * steps + k) * STEP, *z = from + (other * steps + k) * STEP;
                    const char *here = weight + k * LINE, *second = here + SIDE * inputs * 2;
                    int is_first = fresh && !k;
                    if (columns > 1) square(here, second, inputs * 2, LINE, x, z, some_of, found, is_first, 2, next);
                    else square(here, second, inputs * 2, LINE, x, z, some_of, found, is_first, 1, next);
                    next.first += some_of * next.lines * LINE, next.second += some_of * next.lines * LINE;
                }
            for (int64_t i = begin; by->bias && i < end; i++) {
                float *low = to + (some.number[i] * by->outputs + n * DEEP) * SIDE;
                for (int64_t o = 0; o < DEEP; o++) store(low, o * SIDE, load(low, o * SIDE) + by->bias[n * DEEP + o], 0);
            }
        }
    }
}

enum { SWISH, TANH, LOGISTIC }; /* SiLU; GELU by tanh; GELU by a logistic function (Hendrycks and Gimpel 2016) */
INLINE many activated(many x, int64_t how) {
    many inner = how == TANH ? 1.5957691216f * (x + 0.044715f * x * x * x) : how == LOGISTIC ? 1.702f * x : x;
    return x / (1.0f + power(-inner));
}

/* What is multiplied by `down`, (wide) outputs after the activation; with `gates` those are gates of as many more. */
static void gated_many(const matrix *by, int64_t inputs, int64_t wide, int64_t how, const pair *from, blocks some,
                       pair *to, int gates, worker one) {
    int64_t steps = inputs / DEEP, each = gates ? SIDE : DEEP, units = wide / each, together = at_once(inputs, some.count);
    float sums[4 * STEP] __attribute__((aligned(LINE)));
    float *found[4] = {sums, sums + STEP, sums + 2 * STEP, sums + 3 * STEP};
    for (int64_t begin = 0; begin < some.count; begin += together) {
        int64_t end = begin + together < some.count ? begin + together : some.count;
        for (int64_t n = part_of(units, one.mine, one.of); n < part_of(units, one.mine + 1, one.of); n++) {
            int64_t other = gates ? wide + n * SIDE : n * DEEP + SIDE; /* number of the second 16 outputs */
            const char *first = (const char *)by->weight + n * each * inputs * 2;
            const char *second = (const char *)by->weight + other * inputs * 2;
            soon next = coming(first + each * inputs * 2, second + each * inputs * 2, end - begin);
            for (int64_t i = begin; i < end; i += 2) {
                int columns = i + 1 < end ? 2 : 1;
                int64_t block[2] = {some.number[i], some.number[i + columns - 1]};
                const pair *x = from + block[0] * steps * STEP, *z = from + block[1] * steps * STEP;
                if (columns > 1) square(first, second, inputs * 2, LINE, x, z, steps, found, 1, 2, next);
                else square(first, second, inputs * 2, LINE, x, z, steps, found, 1, 1, next);
                next.first += steps * next.lines * LINE, next.second += steps * next.lines * LINE;
                for (int c = 0; c < columns; c++)
                    for (int half = 0; half < (gates ? 1 : 2); half++) {
                        int64_t outcome = n * each + half * SIDE;
                        pair *place = to + (block[c] * wide + outcome) / 2 * SIDE;
                        for (int o = 0; o < SIDE; o += 2) {
                            many made[2];
                            for (int k = 0; k < 2; k++) {
                                many g = load(found[c + 2 * half], (o + k) * SIDE), u = load(found[c + 2], (o + k) * SIDE);
                                if (by->bias) g += by->bias[outcome + o + k], u += by->bias[other + o + k];
                                made[k] = activated(g, how) * (gates ? u : spread(1));
                            }
                            paired(place + o / 2 * SIDE, made[0], made[1]);
                        }
                    }
            }
        }
    }
}

INLINE many chosen(whole which, many value, many other) {
    return (many)(((bits)value & (bits)which) | ((bits)other & ~(bits)which));
}

/* A block of x [size][lane] after a norm, as it is multiplied. */
static void cleaned_many(const float *x, int64_t size, const float *weight, float epsilon, pair *to) {
    many squares = spread(0), scale;
    for (int64_t at = 0; at < size; at++) squares += load(x, at * SIDE) * load(x, at * SIDE);
    for (int lane = 0; lane < SIDE; lane++) scale[lane] = 1 / root(squares[lane] / (float)size + epsilon);
    for (int64_t at = 0; at < size; at += 2)
        paired(to + at / 2 * SIDE, load(x, at * SIDE) * scale * weight[at],
               load(x, (at + 1) * SIDE) * scale * weight[at + 1]);
}

/* y (rows, outputs) in bfloat16 of x (rows, inputs) in bfloat16, one matrix alone. */
void multiply_many(const matrix *by, int64_t inputs, const uint16_t *x, int64_t rows, uint16_t *y, void *scratch,
                   int64_t threads) {
    int64_t count = (rows + SIDE - 1) / SIDE, steps = inputs / DEEP, number[count];
    pair *given = scratch;
    float *found = (float *)(given + count * steps * STEP);
    for (int64_t b = 0; b < count; b++) number[b] = b;
#pragma omp parallel num_threads((int)threads)
    {
        worker one = {which(), how_many(), 0};
        char before[LINE] __attribute__((aligned(LINE)));
        begin_tiles(before);
        for (int64_t unit = part_of(count * steps, one.mine, one.of); unit < part_of(count * steps, one.mine + 1, one.of);
             unit++) {
            many all[SIDE];
            for (int r = 0; r < SIDE; r++) {
                int64_t row = unit / steps * SIDE + r;
                all[r] = row < rows ? *(const many *)(x + row * inputs + unit % steps * DEEP) : spread(0);
            }
            turned_over(all);
            for (int r = 0; r < SIDE; r++) *(many *)(given + unit * STEP + r * SIDE) = all[r];
        }
#pragma omp barrier
        products(by, inputs, given, (blocks){number, count}, found, 1, one);
        for (int64_t o = part_of(by->outputs / DEEP, one.mine, one.of) * DEEP;
             o < part_of(by->outputs / DEEP, one.mine + 1, one.of) * DEEP; o += SIDE)
            for (int64_t b = 0; b < count; b++) {
                many all[SIDE];
                for (int r = 0; r < SIDE; r++) all[r] = load(found, ((b * by->outputs) + o + r) * SIDE);
                turned_over(all);
                for (int r = 0; r < SIDE && b * SIDE + r < rows; r++)
                    store(y, (b * SIDE + r) * by->outputs + o, all[r], 1);
            }
        end_tiles(before);
    }
}
#endif
