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

static void biased(const matrix *by, int64_t n, blocks some, float *to) {
    for (int64_t i = 0; by->bias && i < some.count; i++) {
        float *low = to + (some.number[i] * by->outputs + n * DEEP) * SIDE;
        for (int64_t o = 0; o < DEEP; o++) store(low, o * SIDE, load(low, o * SIDE) + by->bias[n * DEEP + o], 0);
    }
}

#ifdef TILES
/* DEEP outputs for up to FEW blocks, to [block][output][lane] with `far` numbers from block to block. Processors bring
   in ahead of time what is read in order, at one place of a page: of two rows in a page one comes after the other. */
static void read_once(const char *weight, int64_t inputs, const pair *from, blocks some, float *to,
                      const int64_t *places, int64_t far, int fresh) {
    int64_t steps = inputs / DEEP, bytes = inputs * 2, joined = 2 * bytes <= PAGE ? 2 : 1;
    for (int64_t part = 0; part < 2; part++) {
        const char *a = weight + part * bytes * (joined == 2 ? 1 : SIDE);
        const pair *b[FEW] = {0};
        float *found[FEW] = {0};
        for (int64_t i = 0; i < some.count; i++) {
            b[i] = from + some.number[i] * steps * STEP;
            found[i] = to + places[i] * far + part * (joined == 2 ? SIDE : STEP);
        }
        if (some.count == 0) return;
        if (some.count == 1) tall(a, joined * bytes, b, steps, found, joined * LINE, fresh, 1);
        else if (some.count == 2) tall(a, joined * bytes, b, steps, found, joined * LINE, fresh, 2);
        else if (some.count == 3) tall(a, joined * bytes, b, steps, found, joined * LINE, fresh, 3);
        else tall(a, joined * bytes, b, steps, found, joined * LINE, fresh, 4);
    }
}
#endif

/* to [block][output][lane], set or added to, of from [block][steps][pairs][lane]; this worker's outputs. Of many
   tokens NEAR x DEEP inputs are summed at a time: that much of the weights stands in the nearest cache. */
static void products(const matrix *by, int64_t inputs, const pair *from, blocks some, float *to, int fresh,
                     worker one) {
    int64_t steps = inputs / DEEP, units = by->outputs / DEEP, together = at_once(inputs, some.count);
#ifdef TILES
    int64_t last = some.count <= FEW ? part_of(units, one.mine + 1, one.of) : 0;
    for (int64_t n = part_of(units, one.mine, one.of); n < last; n++) {
        const char *weight = (const char *)by->weight + n * DEEP * inputs * 2;
        read_once(weight, inputs, from, some, to + n * DEEP * SIDE, some.number, by->outputs * SIDE, fresh);
        biased(by, n, some, to);
    }
    if (some.count <= FEW) return;
#endif
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
            biased(by, n, (blocks){some.number + begin, end - begin}, to);
        }
    }
}

/* SIDE outputs of one block, from number `outcome` on, as they are multiplied by `down`; `up` may be NULL. */
static void passed(const matrix *by, int64_t how, const float *gate, const float *up, int64_t wide, int64_t outcome,
                   pair *block) {
    pair *place = block + outcome / 2 * SIDE;
    for (int o = 0; o < SIDE; o += 2) {
        many made[2];
        for (int k = 0; k < 2; k++) {
            many g = load(gate, (o + k) * SIDE), u = up ? load(up, (o + k) * SIDE) : spread(1);
            if (by->bias) g += by->bias[outcome + o + k];
            if (by->bias && up) u += by->bias[wide + outcome + o + k];
            made[k] = activated(g, how) * u;
        }
        paired(place + o / 2 * SIDE, made[0], made[1]);
    }
}

/* What is multiplied by `down`, (wide) outputs after the activation; with `gates` those are gates of as many more. */
static void gated_many(const matrix *by, int64_t inputs, int64_t wide, int64_t how, const pair *from, blocks some,
                       pair *to, int gates, worker one) {
    int64_t steps = inputs / DEEP, each = gates ? SIDE : DEEP, units = wide / each;
    int64_t together = at_once(inputs, some.count);
    const char *weight = by->weight;
    float sums[2 * FEW * 2 * STEP] __attribute__((aligned(LINE)));
    float *found[4] = {sums, sums + STEP, sums + 2 * STEP, sums + 3 * STEP};
#ifdef TILES
    int64_t begin = part_of(wide / DEEP, one.mine, one.of), end = part_of(wide / DEEP, one.mine + 1, one.of);
    for (int64_t n = begin; gates && some.count <= FEW && n < end; n++) {
        const int64_t places[FEW] = {0, 1, 2, 3};
        float *up = sums + FEW * 2 * STEP;
        read_once(weight + n * DEEP * inputs * 2, inputs, from, some, sums, places, 2 * STEP, 1);
        read_once(weight + (wide + n * DEEP) * inputs * 2, inputs, from, some, up, places, 2 * STEP, 1);
        for (int64_t i = 0; i < 2 * some.count; i++)
            passed(by, how, sums + i * STEP, up + i * STEP, wide, n * DEEP + i % 2 * SIDE,
                   to + some.number[i / 2] * wide / 2 * SIDE);
    }
    if (gates && some.count <= FEW) return;
#endif
    for (int64_t begin = 0; begin < some.count; begin += together) {
        int64_t end = begin + together < some.count ? begin + together : some.count;
        for (int64_t n = part_of(units, one.mine, one.of); n < part_of(units, one.mine + 1, one.of); n++) {
            int64_t other = gates ? wide + n * SIDE : n * DEEP + SIDE; /* number of the second 16 outputs */
            const char *first = weight + n * each * inputs * 2, *second = weight + other * inputs * 2;
            soon next = coming(first + each * inputs * 2, second + each * inputs * 2, end - begin);
            for (int64_t i = begin; i < end; i += 2) {
                int columns = i + 1 < end ? 2 : 1;
                int64_t block[2] = {some.number[i], some.number[i + columns - 1]};
                const pair *x = from + block[0] * steps * STEP, *z = from + block[1] * steps * STEP;
                if (columns > 1) square(first, second, inputs * 2, LINE, x, z, steps, found, 1, 2, next);
                else square(first, second, inputs * 2, LINE, x, z, steps, found, 1, 1, next);
                next.first += steps * next.lines * LINE, next.second += steps * next.lines * LINE;
                for (int c = 0; c < columns; c++) {
                    pair *here = to + block[c] * wide / 2 * SIDE;
                    passed(by, how, found[c], gates ? found[2 + c] : 0, wide, n * each, here);
                    if (!gates) passed(by, how, found[2 + c], 0, wide, n * each + SIDE, here);
                }
            }
        }
    }
}

INLINE many chosen(whole which, many value, many other) {
    return (many)(((bits)value & (bits)which) | ((bits)other & ~(bits)which));
}

/* Weights of keys, as values are multiplied by them, for scores [key][lane], none above `most`; their sums. */
static many weights_of(const float *scores, int64_t keys, many most, pair *to) {
    many total = spread(0);
    for (int64_t key = 0; key < keys; key += 2) {
        many low = power(load(scores, key * SIDE) - most), high = power(load(scores, (key + 1) * SIDE) - most);
        total += low, total += high;
        paired(to + key / 2 * SIDE, low, high);
    }
    return total;
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
        int64_t begin = part_of(count * steps, one.mine, one.of), end = part_of(count * steps, one.mine + 1, one.of);
        for (int64_t unit = begin; unit < end; unit++) {
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
