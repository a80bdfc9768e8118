/* A layer of an encoder of pictures in one call: norm, attention of all over all, norm, two matrices (CLIP's order). */
#pragma once
#include "attention.h"
#include "many.h"

#ifdef MANY
typedef struct {
    matrix q, k, v, out, up, down;
    const float *first_weight, *first_bias, *second_weight, *second_bias; /* of the norms */
    int64_t hidden, heads, size, wide;
    float epsilon, scale;
    int64_t activation; /* as in products.h */
} coder;

/* Where a call's numbers lie: [block][number][lane], a picture's blocks together. */
typedef struct { float *x, *q, *k, *v; pair *clean, *seen, *middle; char *own; int64_t each, keys; } table;

static int64_t spread_out(const coder *all, int64_t pictures, int64_t tokens, int64_t threads, char *base, table *to) {
    int64_t blocks = pictures * ((tokens + SIDE - 1) / SIDE), lines = blocks * all->hidden * LINE;
    to->keys = (tokens + DEEP - 1) / DEEP * DEEP;
    char *at = base;
    to->x = (float *)at, at += lines;
    to->q = (float *)at, at += lines;
    to->k = (float *)at, at += lines;
    to->v = (float *)at, at += lines;
    to->clean = (pair *)at, at += lines / 2;
    to->seen = (pair *)at, at += lines / 2;
    to->middle = (pair *)at, at += blocks * all->wide * LINE / 2;
    to->own = at;
    to->each = to->keys * (LINE + LINE / 2 + 4 * all->size) + all->size * (LINE / 2) + 2 * STEP * 4;
    return at + threads * to->each - base;
}

int64_t room_look(const coder *all, int64_t pictures, int64_t tokens, int64_t threads) {
    table found;
    return spread_out(all, pictures, tokens, threads, 0, &found);
}

/* A block of x [size][lane] after a norm of mean and spread, as it is multiplied. */
static void evened(const float *x, int64_t size, const float *weight, const float *bias, float epsilon, pair *to) {
    many mean = spread(0), squares = spread(0), scale;
    for (int64_t at = 0; at < size; at++) mean += load(x, at * SIDE);
    mean /= (float)size;
    for (int64_t at = 0; at < size; at++) squares += (load(x, at * SIDE) - mean) * (load(x, at * SIDE) - mean);
    for (int lane = 0; lane < SIDE; lane++) scale[lane] = 1 / root(squares[lane] / (float)size + epsilon);
    for (int64_t at = 0; at < size; at += 2)
        paired(to + at / 2 * SIDE, (load(x, at * SIDE) - mean) * scale * weight[at] + bias[at],
               (load(x, (at + 1) * SIDE) - mean) * scale * weight[at + 1] + bias[at + 1]);
}

/* One head of one picture; `memory` is the worker's own. */
static void looked(const coder *all, const table *at, int64_t first, int64_t tokens, int64_t head, char *memory) {
    int64_t size = all->size, hidden = all->hidden, blocks = (tokens + SIDE - 1) / SIDE, keys = at->keys;
    float *scores = (float *)memory;
    pair *weights = (pair *)(scores + keys * SIDE), *asking = weights + keys / 2 * SIDE;
    float *found[4] = {(float *)(asking + size / 2 * SIDE), 0, 0, 0};
    found[2] = found[0] + STEP;
    uint16_t *rows = (uint16_t *)(found[0] + 2 * STEP), *values = rows + keys * size; /* [key][number], [..][key] */
    memset(rows, 0, (size_t)(keys * size * 4));
    for (int64_t b = 0; b < blocks; b++) {
        const float *k = at->k + ((first + b) * hidden + head * size) * SIDE, *v = at->v + (k - at->k);
        for (int64_t from = 0; from < size; from += SIDE) {
            many all_of[SIDE];
            for (int n = 0; n < SIDE; n++) all_of[n] = load(k, (from + n) * SIDE);
            turned_over(all_of);
            for (int lane = 0; lane < SIDE; lane++) store(rows, (b * SIDE + lane) * size + from, all_of[lane], 1);
        }
        for (int64_t d = 0; d < size; d++)
            store(values, b / 2 * DEEP * size + d * DEEP + b % 2 * SIDE, load(v, d * SIDE), 1);
    }
    for (int64_t b = 0; b < blocks; b++) {
        const float *q = at->q + ((first + b) * hidden + head * size) * SIDE;
        for (int64_t d = 0; d < size; d += 2)
            paired(asking + d / 2 * SIDE, load(q, d * SIDE) * all->scale, load(q, (d + 1) * SIDE) * all->scale);
        many most = spread(NOTHING);
        for (int64_t key = 0; key < keys; key += DEEP) {
            const char *here = (const char *)(rows + key * size);
            float *to = scores + key * SIDE;
            square(here, here + SIDE * size * 2, size * 2, LINE, asking, 0, size / DEEP,
                   (float *const[4]){to, 0, to + STEP, 0}, 1, 1, (soon){0});
        }
        for (int64_t key = 0; key < tokens; key++) {
            many score = load(scores, key * SIDE);
            most = chosen(score > most, score, most);
        }
        for (int64_t key = tokens; key < keys; key++) store(scores, key * SIDE, spread(NOTHING), 0);
        many scale = 1.0f / weights_of(scores, keys, most, weights);
        for (int64_t d = 0; d < size; d += DEEP) {
            const char *from = (const char *)(values + d * DEEP);
            square(from, from + STEP * 4, LINE, size * LINE, weights, 0, keys / DEEP, found, 1, 1, (soon){0});
            pair *y = at->seen + ((first + b) * hidden + head * size + d) / 2 * SIDE;
            for (int k = 0; k < DEEP; k += 2) {
                const float *sums = found[k / SIDE * 2] + k % SIDE * SIDE;
                paired(y + k / 2 * SIDE, load(sums, 0) * scale, load(sums, SIDE) * scale);
            }
        }
    }
}

/* Numbers of a block and rows of bfloat16, one into the other; lanes after the last token are zeros. */
static void block_of(const uint16_t *x, int64_t left, int64_t hidden, float *to) {
    for (int64_t from = 0; from < hidden; from += SIDE) {
        many all_of[SIDE];
        for (int lane = 0; lane < SIDE; lane++) {
            const halves *here = (const halves *)(x + lane * hidden + from);
            all_of[lane] = lane < left ? (many)(__builtin_convertvector(*here, bits) << 16) : spread(0);
        }
        turned_over(all_of);
        for (int k = 0; k < SIDE; k++) store(to, (from + k) * SIDE, all_of[k], 0);
    }
}
static void rows_of(const float *x, int64_t left, int64_t hidden, uint16_t *to) {
    for (int64_t from = 0; from < hidden; from += SIDE) {
        many all_of[SIDE];
        for (int k = 0; k < SIDE; k++) all_of[k] = load(x, (from + k) * SIDE);
        turned_over(all_of);
        for (int lane = 0; lane < SIDE && lane < left; lane++) store(to, lane * hidden + from, all_of[lane], 1);
    }
}

/* y of x (pictures, tokens, hidden), both in bfloat16. */
void look_many(const coder *all, int64_t pictures, int64_t tokens, const uint16_t *x, uint16_t *y, void *scratch,
               int64_t threads) {
    int64_t of_one = (tokens + SIDE - 1) / SIDE, every = pictures * of_one, hidden = all->hidden, number[every];
    blocks some = {number, every};
    table at;
    spread_out(all, pictures, tokens, threads, scratch, &at);
    for (int64_t b = 0; b < every; b++) number[b] = b;
#pragma omp parallel num_threads((int)threads)
    {
        worker one = {which(), how_many(), 0};
        char before[LINE] __attribute__((aligned(LINE))), *memory = at.own + one.mine * at.each;
        int64_t begin = part_of(every, one.mine, one.of), end = part_of(every, one.mine + 1, one.of);
        begin_tiles(before);
        for (int64_t b = begin; b < end; b++) {
            int64_t lane = b % of_one * SIDE;
            block_of(x + (b / of_one * tokens + lane) * hidden, tokens - lane, hidden, at.x + b * hidden * SIDE);
            evened(at.x + b * hidden * SIDE, hidden, all->first_weight, all->first_bias, all->epsilon,
                   at.clean + b * hidden / 2 * SIDE);
        }
#pragma omp barrier
        products(&all->q, hidden, at.clean, some, at.q, 1, one);
        products(&all->k, hidden, at.clean, some, at.k, 1, one);
        products(&all->v, hidden, at.clean, some, at.v, 1, one);
#pragma omp barrier
        int64_t units = pictures * all->heads;
        for (int64_t u = part_of(units, one.mine, one.of); u < part_of(units, one.mine + 1, one.of); u++)
            looked(all, &at, u / all->heads * of_one, tokens, u % all->heads, memory);
#pragma omp barrier
        products(&all->out, hidden, at.seen, some, at.x, 0, one);
#pragma omp barrier
        for (int64_t b = begin; b < end; b++)
            evened(at.x + b * hidden * SIDE, hidden, all->second_weight, all->second_bias, all->epsilon,
                   at.clean + b * hidden / 2 * SIDE);
#pragma omp barrier
        gated_many(&all->up, hidden, all->wide, all->activation, at.clean, some, at.middle, 0, one);
#pragma omp barrier
        products(&all->down, all->wide, at.middle, some, at.x, 0, one);
#pragma omp barrier
        for (int64_t b = begin; b < end; b++) {
            int64_t lane = b % of_one * SIDE;
            rows_of(at.x + b * hidden * SIDE, tokens - lane, hidden, y + (b / of_one * tokens + lane) * hidden);
        }
        end_tiles(before);
    }
}
#endif
