/* Attention of one token of a row over what its group shares and over what it has of its own. */
#pragma once
#include "model.h"
#include "products.h"
#include "vectors.h"

#define KEYS 64    /* whose scores are written down at once */
#define ASKING 4   /* queries of a key head at once */
#define WIDEST 512 /* a head's size at most */
#define NOTHING -1e30f

/* queries and keys turned by their position: x cos + (x with its halves exchanged) sin, whose signs are in it */
static void turned(float *x, const float *angles, int64_t size) {
    float before[WIDEST];
    memcpy(before, x, size * sizeof *x);
    const float *sine = angles + 3 * size;
    int64_t half = size / 2;
    for (int64_t at = 0; at < size; at++)
        x[at] = before[at] * angles[at] + before[at < half ? at + half : at - half] * sine[at];
}

/* What queries have seen so far: their largest score, the sum of their weights, and of their values times those. */
typedef struct { float most[ASKING], total[ASKING]; many seen[ASKING][WIDEST / LANES]; } answer;

/* Scores of a query over up to KEYS keys; those that are not there have so small ones that they weigh nothing. */
INLINE void scored(const float *q, const char *keys, int64_t count, int64_t size, int half, float *scores) {
    int64_t bytes = size * (half ? 2 : 4);
    for (int64_t first = 0; first < KEYS; first += LANES) {
        many each[LANES];
        int64_t here = count - first < LANES ? count - first : LANES;
        if (here <= 0) {
            store(scores, first, spread(NOTHING), 0);
            continue;
        }
        for (int64_t key = 0; key < LANES; key++) {
            const char *k = keys + (first + (key < here ? key : 0)) * bytes;
            __builtin_prefetch(k + LANES * bytes);
            many total = spread(0), other = spread(0), even, odd;
            for (int64_t at = 0; at < size; at += 2 * LANES) {
                both(k, at, half, &even, &odd);
                total += even * load(q, at), other += odd * load(q, at + LANES);
            }
            each[key] = total + other;
        }
        store(scores, first, sums(each), 0);
        for (int64_t key = here; key < LANES; key++) scores[first + key] = NOTHING;
    }
}

/* seen[wide] += weights times values, so many vectors of each at once. */
INLINE void weighed(const float *weights, const char *values, int64_t count, int64_t size, int half, many *seen,
                    int wide) {
    int64_t bytes = size * (half ? 2 : 4);
    many total[4];
    for (int k = 0; k < wide; k++) total[k] = seen[k];
    for (int64_t key = 0; key < count; key++) {
        const char *v = values + key * bytes;
        __builtin_prefetch(v + LANES * bytes);
        for (int k = 0; k < wide; k += 2) {
            many even, odd;
            both(v, k * LANES, half, &even, &odd);
            total[k] += weights[key] * even, total[k + 1] += weights[key] * odd;
        }
    }
    for (int k = 0; k < wide; k++) seen[k] = total[k];
}

/* Adds keys to what queries have seen, KEYS at a time (online softmax, Milakov and Gimelshein 2018). */
INLINE void attend(answer *to, const float *q, int asking, const char *keys, const char *values, int64_t count,
                   int64_t size, int half) {
    int64_t bytes = size * (half ? 2 : 4), vectors = size / LANES;
    for (int64_t first = 0; first < count; first += KEYS) {
        int64_t here = count - first < KEYS ? count - first : KEYS;
        const char *v = values + first * bytes;
        for (int a = 0; a < asking; a++) {
            float scores[KEYS], most = to->most[a];
            scored(q + a * size, keys + first * bytes, here, size, half, scores);
            for (int64_t key = 0; key < KEYS; key++) most = scores[key] > most ? scores[key] : most;
            many less = power(spread(to->most[a] - most)), total = spread(0);
            to->most[a] = most;
            for (int64_t key = 0; key < KEYS; key += LANES) {
                many weight = power(load(scores, key) - most);
                store(scores, key, weight, 0);
                total += weight;
            }
            to->total[a] = to->total[a] * less[0] + sum(total);
            for (int64_t at = 0; at < vectors; at++) to->seen[a][at] *= less;
            int64_t at = 0;
            for (; at + 4 <= vectors; at += 4)
                weighed(scores, v + at * LANES * (half ? 2 : 4), here, size, half, to->seen[a] + at, 4);
            for (; at < vectors; at += 2)
                weighed(scores, v + at * LANES * (half ? 2 : 4), here, size, half, to->seen[a] + at, 2);
        }
    }
}

static void over(answer *to, const float *q, int asking, const char *keys, const char *values, int64_t count,
                 int64_t size, int half) {
    if (half) attend(to, q, asking, keys, values, count, size, 1);
    else attend(to, q, asking, keys, values, count, size, 0);
}

/* One key head of one row: its queries and its key are turned, key and value are kept, and all is attended over. */
static void attended(const decoder *all, int64_t number, const row *one, int64_t head, float *qkv, float *y) {
    const layer *this = all->layer + number;
    const group *among = one->group;
    int64_t size = all->size, queries = all->heads / all->key_heads, each = all->half_keys ? 2 : 4;
    float *q = qkv + head * queries * size, *k = qkv + (all->heads + head) * size, *v = k + all->key_heads * size;
    if (this->between) {
        for (int64_t n = 0; n < queries; n++)
            normed(q + n * size, this->between + (head * queries + n) * size, this->epsilon_between, size,
                   q + n * size);
        normed(k, this->between + (all->heads + head) * size, this->epsilon_between, size, k);
    }
    for (int64_t n = 0; n < queries; n++) turned(q + n * size, one->angles, size);
    turned(k, one->angles + size, size);
    const piece *own = among->own + number;
    char *keys = own->keys + each * (one->index * own->row + head * own->head), *values = keys + each * own->values;
    for (int64_t at = 0; at < size; at += LANES) {
        store(keys, one->own * size + at, load(k, at), all->half_keys);
        store(values, one->own * size + at, load(v, at), all->half_keys);
    }
    for (int64_t n = 0; n < queries; n++) deal(q + n * size, size, all->half_keys);
    int64_t every = among->begin + one->own + 1;
    int64_t hidden = this->window && every > this->window ? every - this->window : 0; /* tokens too far back */
    for (int64_t n = 0; n < queries; n += ASKING) {
        int asking = queries - n < ASKING ? (int)(queries - n) : ASKING;
        answer found;
        for (int a = 0; a < asking; a++) {
            found.most[a] = NOTHING, found.total[a] = 0;
            for (int64_t at = 0; at < size / LANES; at++) found.seen[a][at] = spread(0);
        }
        int64_t far = hidden;
        for (int64_t part = 0; part <= among->parts; part++) {
            const piece *from = part < among->parts ? among->prefix + part * all->layers + number : own;
            int64_t count = part < among->parts ? among->lengths[part] : one->own + 1;
            int64_t skipped = far < count ? far : count;
            far -= skipped;
            const char *begin = part < among->parts ? from->keys + each * head * from->head : keys;
            begin += each * skipped * size;
            over(&found, q + n * size, asking, begin, begin + each * from->values, count - skipped, size,
                 all->half_keys);
        }
        for (int a = 0; a < asking; a++) {
            many scale = spread(1 / found.total[a]);
            for (int64_t at = 0; at < size / LANES; at++)
                store(y, (head * queries + n + a) * size + at * LANES, found.seen[a][at] * scale, 0);
            if (all->half_keys) undeal(y + (head * queries + n + a) * size, size);
            deal(y + (head * queries + n + a) * size, size, this->out.kind == HALF);
        }
    }
}
