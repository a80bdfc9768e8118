/* One more token for a few rows of a decoder that looks at what an encoder made (BART's order): attention over what was
   written, attention over what was encoded, two matrices; after each of them a norm of mean and spread. */
#pragma once
#include "attention.h"
#include "threads.h"

typedef struct {
    matrix qkv, out, ask, told, up, down; /* `ask` makes queries of what was encoded, `told` ends that attention */
    const float *weight[3], *bias[3];     /* of the norms, in the order in which they come */
    float epsilon[3];
} storey;
typedef struct {
    int64_t layers, hidden, heads, size, wide;
    int32_t half_keys, activation;
    float scale;
    const storey *layer;
    matrix head;
} writer;
typedef struct {
    const piece *own;                     /* of each layer, where the rows' own keys and values are */
    int64_t index, length;                /* its place there, its tokens so far */
    const piece *seen;                    /* of each layer, those of what was encoded */
    int64_t tokens;
} scribe;

/* Numbers of `scratch` that a step needs. */
int64_t room_crossed(const writer *all, int64_t rows, int64_t threads) {
    return rows * (4 * all->heads * all->size + all->wide + threads * all->hidden);
}

/* A norm of mean and spread, in place. */
static void settled(float *x, const float *weight, const float *bias, float epsilon, int64_t size) {
    many total = spread(0), squares = spread(0);
    for (int64_t at = 0; at < size; at += LANES) total += load(x, at);
    float mean = sum(total) / (float)size;
    for (int64_t at = 0; at < size; at += LANES) squares += (load(x, at) - mean) * (load(x, at) - mean);
    float scale = 1 / root(sum(squares) / (float)size + epsilon);
    for (int64_t at = 0; at < size; at += LANES)
        store(x, at, (load(x, at) - mean) * scale * load(weight, at) + load(bias, at), 0);
}

/* A query over so many keys that lie one after the other; what it finds is ready to be multiplied. */
static void found_in(const writer *all, float *q, const char *keys, int64_t values, int64_t count, int half,
                     float *y) {
    int64_t size = all->size;
    answer found = {.most = {NOTHING}};
    for (int64_t at = 0; at < size; at += LANES) store(q, at, load(q, at) * all->scale, 0);
    deal(q, size, all->half_keys);
    for (int64_t at = 0; at < size / LANES; at++) found.seen[0][at] = spread(0);
    over(&found, q, 1, keys, keys + values * (all->half_keys ? 2 : 4), count, size, all->half_keys);
    many scale = spread(1 / found.total[0]);
    for (int64_t at = 0; at < size / LANES; at++) store(y, at * LANES, found.seen[0][at] * scale, 0);
    if (all->half_keys) undeal(y, size);
    deal(y, size, half);
}

/* One head of one row over what was written: its key and its value are kept. */
static void remembered(const writer *all, int64_t number, const scribe *one, int64_t head, float *qkv, float *y) {
    const piece *own = one->own + number;
    int64_t size = all->size, each = all->half_keys ? 2 : 4;
    float *q = qkv + head * size, *k = q + all->heads * size, *v = k + all->heads * size;
    char *keys = own->keys + each * (one->index * own->row + head * own->head), *values = keys + each * own->values;
    for (int64_t at = 0; at < size; at += LANES) {
        store(keys, one->length * size + at, load(k, at), all->half_keys);
        store(values, one->length * size + at, load(v, at), all->half_keys);
    }
    found_in(all, q, keys, own->values, one->length + 1, all->layer[number].out.kind == HALF, y);
}

/* The same over what was encoded. */
static void heard(const writer *all, int64_t number, const scribe *one, int64_t head, float *q, float *y) {
    const piece *seen = one->seen + number;
    const char *keys = seen->keys + (all->half_keys ? 2 : 4) * head * seen->head;
    found_in(all, q + head * all->size, keys, seen->values, one->tokens, all->layer[number].told.kind == HALF, y);
}

/* Rows as they are multiplied: a copy of each thread's own. */
static void copied(const float *x, int64_t rows, int64_t size, int half, float *y) {
    memcpy(y, x, (size_t)(rows * size) * sizeof *x);
    deal(y, rows * size, half);
}

/* y (rows, wide): the activation of what a matrix makes, ready to be multiplied. */
static void opened(const writer *all, const storey *this, const float *x, int64_t rows, float *y, worker one) {
    float found[TILE * MOST_ROWS + LANES] = {0};
    for (span of = {0}; next(&one, all->wide, &of);)
        for (int64_t o = of.first; o < of.last; o += TILE) {
            int64_t outputs = of.last - o < TILE ? of.last - o : TILE;
            some(&this->up, all->hidden, x, rows, o, outputs, found);
            for (int64_t at = 0; at < TILE * rows; at += LANES)
                store(found, at, activated(load(found, at), all->activation), 0);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t k = 0; k < outputs; k++)
                    y[r * all->wide + dealt(o + k, this->down.kind == HALF)] = found[TILE * r + k];
        }
}

/* x (rows, hidden) becomes what the last layer gives; logits (rows, outputs of the head). */
void step_crossed(const writer *all, const scribe *rows, int64_t count, float *x, float *logits, float *scratch,
                  int64_t threads) {
    int64_t hidden = all->hidden, flat = all->heads * all->size, units = count * all->heads;
    float *qkv = scratch, *seen = qkv + 3 * count * flat, *middle = seen + count * flat;
    float *own = middle + count * all->wide;
    int64_t taken[6 * all->layers + 1]; /* of each product what was given out */
    memset(taken, 0, sizeof taken);
#pragma omp parallel num_threads((int)threads)
    {
        worker one = {which(), how_many(), taken};
        float *clean = own + one.mine * count * hidden;
        int64_t begin = units * one.mine / one.of, end = units * (one.mine + 1) / one.of;
        for (int64_t number = 0; number < all->layers; number++) {
            const storey *this = all->layer + number;
            copied(x, count, hidden, this->qkv.kind == HALF, clean);
            product(&this->qkv, hidden, clean, count, qkv, one, 0), one.taken++;
#pragma omp barrier
            for (int64_t unit = begin; unit < end; unit++) {
                int64_t r = unit / all->heads, head = unit % all->heads;
                remembered(all, number, rows + r, head, qkv + 3 * r * flat, seen + r * flat + head * all->size);
            }
#pragma omp barrier
            product(&this->out, flat, seen, count, x, one, 1), one.taken++;
#pragma omp barrier
            for (int64_t r = one.mine; r < count; r += one.of)
                settled(x + r * hidden, this->weight[0], this->bias[0], this->epsilon[0], hidden);
#pragma omp barrier
            copied(x, count, hidden, this->ask.kind == HALF, clean);
            product(&this->ask, hidden, clean, count, qkv, one, 0), one.taken++;
#pragma omp barrier
            for (int64_t unit = begin; unit < end; unit++) {
                int64_t r = unit / all->heads, head = unit % all->heads;
                heard(all, number, rows + r, head, qkv + r * flat, seen + r * flat + head * all->size);
            }
#pragma omp barrier
            product(&this->told, flat, seen, count, x, one, 1), one.taken++;
#pragma omp barrier
            for (int64_t r = one.mine; r < count; r += one.of)
                settled(x + r * hidden, this->weight[1], this->bias[1], this->epsilon[1], hidden);
#pragma omp barrier
            copied(x, count, hidden, this->up.kind == HALF, clean);
            opened(all, this, clean, count, middle, one), one.taken++;
#pragma omp barrier
            product(&this->down, all->wide, middle, count, x, one, 1), one.taken++;
#pragma omp barrier
            for (int64_t r = one.mine; r < count; r += one.of)
                settled(x + r * hidden, this->weight[2], this->bias[2], this->epsilon[2], hidden);
#pragma omp barrier
        }
        copied(x, count, hidden, all->head.kind == HALF, clean);
        product(&all->head, hidden, clean, count, logits, one, 0);
    }
}
