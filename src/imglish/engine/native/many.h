/* Matrices times many tokens in bfloat16: 16 tokens are the lanes of a vector, and stand in a `block` together. */
#pragma once
#include "model.h"
#include "products.h"
#include "threads.h"
#include "tiles.h"

#ifdef MANY
#define CACHED (768 << 10) /* bytes of tokens that are read again for each of the outputs */
#define LINE 64

/* Blocks of tokens that take part: `number[0]` to `number[count - 1]`. */
typedef struct { const int64_t *number; int64_t count; } blocks;

INLINE int64_t part_of(int64_t all, int64_t mine, int64_t of) { return all * mine / of; }

/* to [block][output][lane], set or added to, of from [block][steps][pairs][lane]; this worker's outputs. */
static void products(const matrix *by, int64_t inputs, const pair *from, blocks some, float *to, int fresh,
                     worker one) {
    int64_t steps = inputs / DEEP, units = by->outputs / DEEP, together = CACHED / (LINE / 2 * inputs) & ~1;
    if (together < 2) together = 2;
    for (int64_t begin = 0; begin < some.count; begin += together)
        for (int64_t n = part_of(units, one.mine, one.of); n < part_of(units, one.mine + 1, one.of); n++) {
            const char *weight = (const char *)by->weight + n * DEEP * inputs * 2;
            for (int64_t i = begin; i < begin + together && i < some.count; i += 2) {
                int columns = i + 1 < some.count ? 2 : 1;
                int64_t block = some.number[i], other = some.number[i + columns - 1];
                float *low = to + (block * by->outputs + n * DEEP) * SIDE;
                float *high = to + (other * by->outputs + n * DEEP) * SIDE;
                float *found[4] = {low, high, low + STEP, high + STEP};
                const pair *x = from + block * steps * STEP, *z = from + other * steps * STEP;
                const char *second = weight + SIDE * inputs * 2;
                if (columns > 1) square(weight, second, inputs * 2, LINE, x, z, steps, found, fresh, 2);
                else square(weight, second, inputs * 2, LINE, x, z, steps, found, fresh, 1);
                for (int64_t o = 0; by->bias && o < DEEP; o++) {
                    many bias = spread(by->bias[n * DEEP + o]);
                    store(low, o * SIDE, load(low, o * SIDE) + bias, 0);
                    if (columns > 1) store(high, o * SIDE, load(high, o * SIDE) + bias, 0);
                }
            }
        }
}

INLINE many activated(many gate, int activation) {
    many inner = activation ? 1.5957691216f * (gate + 0.044715f * gate * gate * gate) : gate;
    return gate / (1.0f + power(-inner));
}

/* What stands between up and down, as it is multiplied; this worker's part. */
static void gated_many(const decoder *all, const layer *this, const pair *from, blocks some, pair *to, worker one) {
    const matrix *by = &this->up;
    int64_t inputs = all->hidden, steps = inputs / DEEP, units = all->wide / SIDE, wide = all->wide / DEEP * STEP;
    int64_t together = CACHED / (LINE / 2 * inputs) & ~1;
    float sums[4 * STEP] __attribute__((aligned(LINE)));
    float *found[4] = {sums, sums + STEP, sums + 2 * STEP, sums + 3 * STEP};
    if (together < 2) together = 2;
    for (int64_t begin = 0; begin < some.count; begin += together)
        for (int64_t n = part_of(units, one.mine, one.of); n < part_of(units, one.mine + 1, one.of); n++) {
            const char *gate = (const char *)by->weight + n * SIDE * inputs * 2, *up = gate + all->wide * inputs * 2;
            for (int64_t i = begin; i < begin + together && i < some.count; i += 2) {
                int columns = i + 1 < some.count ? 2 : 1;
                int64_t block[2] = {some.number[i], some.number[i + columns - 1]};
                const pair *x = from + block[0] * steps * STEP, *z = from + block[1] * steps * STEP;
                if (columns > 1) square(gate, up, inputs * 2, LINE, x, z, steps, found, 1, 2);
                else square(gate, up, inputs * 2, LINE, x, z, steps, found, 1, 1);
                for (int c = 0; c < columns; c++) {
                    pair *place = to + block[c] * wide + n / 2 * STEP + n % 2 * (STEP / 2);
                    for (int o = 0; o < SIDE; o += 2) {
                        many each[2];
                        for (int k = 0; k < 2; k++) {
                            many g = load(found[c], (o + k) * SIDE), u = load(found[2 + c], (o + k) * SIDE);
                            if (by->bias) g += by->bias[n * SIDE + o + k], u += by->bias[all->wide + n * SIDE + o + k];
                            each[k] = activated(g, all->activation) * u;
                        }
                        paired(place + o / 2 * SIDE, each[0], each[1]);
                    }
                }
            }
        }
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
