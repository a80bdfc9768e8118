/* Where the tokens of texts stand while they are read together: 16 of them are the lanes of a block. */
#pragma once
#include "attention.h"
#include "many.h"

#ifdef MANY
#define CHUNK 32 /* keys whose values are summed at once */

typedef struct {
    row row;               /* with angles of each of its tokens */
    int64_t first, count;  /* its first token among all */
    const uint16_t *seen;  /* of a tree: which lanes of a block see a key of its own, [block of the text][key]; or NULL */
    int64_t wide;          /* keys of a block there */
} text;
typedef struct { const char *keys, *values; int64_t length, begin; } segment; /* of one head; where it begins */

/* Where all that a call needs lies. */
typedef struct {
    float *x, *qkv, *turns; /* [block][number][lane]; turns: cosines and sines of queries, and of keys */
    pair *clean, *seen, *middle;
    char *own;              /* of the first worker */
    int64_t each;           /* bytes of a worker */
    int64_t keys, parts;    /* at most, of a text */
} desk;

static int64_t rounded_up(int64_t number, int64_t to) { return (number + to - 1) / to * to; }

static int64_t laid_out(const decoder *all, const text *texts, int64_t count, int64_t tokens, int64_t threads,
                        char *base, desk *found) {
    int64_t blocks = (tokens + SIDE - 1) / SIDE, size = all->size, flat = all->layer->qkv.outputs;
    found->keys = found->parts = 0;
    for (int64_t t = 0; t < count; t++) {
        const group *among = texts[t].row.group;
        int64_t keys = rounded_up(texts[t].row.own + texts[t].count, CHUNK);
        for (int64_t part = 0; part < among->parts; part++) keys += rounded_up(among->lengths[part], CHUNK);
        if (keys > found->keys) found->keys = keys;
        if (among->parts + 1 > found->parts) found->parts = among->parts + 1;
    }
    char *at = base;
    found->x = (float *)at, at += blocks * all->hidden * LINE;
    found->qkv = (float *)at, at += blocks * flat * LINE;
    found->turns = (float *)at, at += blocks * 4 * size * LINE;
    found->clean = (pair *)at, at += blocks * all->hidden * LINE / 2;
    found->seen = (pair *)at, at += blocks * all->heads * size * LINE / 2;
    found->middle = (pair *)at, at += blocks * all->wide * LINE / 2;
    found->own = at;
    found->each = found->keys * (LINE + LINE / 2 + 2 * size) + found->parts * (SIDE * size * 2) + size * (LINE / 2) +
                  2 * STEP * 4 + rounded_up(found->parts * (int64_t)sizeof(segment), LINE);
    return at + threads * found->each - base;
}

int64_t room_many(const decoder *all, const text *texts, int64_t count, int64_t tokens, int64_t threads) {
    desk found;
    return laid_out(all, texts, count, tokens, threads, 0, &found);
}

/* Embeddings and angles of a block, a token in each lane; lanes after the last token are zeros. */
static void entered(const decoder *all, const text *texts, int64_t count, const float *x, int64_t block, int64_t tokens,
                    const desk *to) {
    int64_t hidden = all->hidden, size = all->size;
    float *here = to->x + block * hidden * SIDE, *turns = to->turns + block * 4 * size * SIDE;
    const float *angles[SIDE] = {0};
    for (int64_t t = 0; t < count; t++)
        for (int lane = 0; lane < SIDE; lane++) {
            int64_t at = block * SIDE + lane - texts[t].first;
            if (at >= 0 && at < texts[t].count) angles[lane] = texts[t].row.angles + at * 6 * size;
        }
    for (int64_t from = 0; from < hidden; from += SIDE) {
        many all_of[SIDE];
        for (int lane = 0; lane < SIDE; lane++)
            all_of[lane] = block * SIDE + lane < tokens ? load(x, (block * SIDE + lane) * hidden + from) : spread(0);
        turned_over(all_of);
        for (int k = 0; k < SIDE; k++) store(here, (from + k) * SIDE, all_of[k], 0);
    }
    for (int which = 0; which < 4; which++) /* cosine and sine for a query, for a key */
        for (int64_t from = 0; from < size; from += SIDE) {
            many all_of[SIDE];
            for (int lane = 0; lane < SIDE; lane++)
                all_of[lane] =
                    angles[lane] ? load(angles[lane], (which % 2 * 3 + which / 2) * size + from) : spread(0);
            turned_over(all_of);
            for (int k = 0; k < SIDE; k++) store(turns, (which * size + from + k) * SIDE, all_of[k], 0);
        }
}

/* A head of a block [size][lane] after a norm of its own, and turned by where its tokens stand. */
static void turned_many(float *x, const float *turns, int64_t size, const float *weight, float epsilon) {
    int64_t half = size / 2;
    if (weight) {
        many squares = spread(0), scale;
        for (int64_t at = 0; at < size; at++) squares += load(x, at * SIDE) * load(x, at * SIDE);
        for (int lane = 0; lane < SIDE; lane++) scale[lane] = 1 / root(squares[lane] / (float)size + epsilon);
        for (int64_t at = 0; at < size; at++) store(x, at * SIDE, load(x, at * SIDE) * scale * weight[at], 0);
    }
    for (int64_t at = 0; at < half; at++) {
        many low = load(x, at * SIDE), high = load(x, (at + half) * SIDE);
        const float *sines = turns + size * SIDE;
        store(x, at * SIDE, low * load(turns, at * SIDE) + high * load(sines, at * SIDE), 0);
        store(x, (at + half) * SIDE,
              high * load(turns, (at + half) * SIDE) + low * load(sines, (at + half) * SIDE), 0);
    }
}

/* Queries or the key of one head of a block are turned; keys and values go where they are kept. */
static void kept_many(const decoder *all, int64_t number, const text *texts, int64_t count, int64_t block, int64_t head,
                      const desk *at) {
    const layer *this = all->layer + number;
    int64_t size = all->size, flat = this->qkv.outputs, key_head = head - all->heads;
    float *x = at->qkv + (block * flat + head * size) * SIDE;
    const float *turns = at->turns + (block * 4 + (key_head < 0 ? 0 : 2)) * size * SIDE;
    turned_many(x, turns, size, this->between ? this->between + head * size : 0, this->epsilon_between);
    for (int which = 0; key_head >= 0 && which < 2; which++, x += all->key_heads * size * SIDE)
        for (int64_t from = 0; from < size; from += SIDE) {
            many all_of[SIDE];
            for (int k = 0; k < SIDE; k++) all_of[k] = load(x, (from + k) * SIDE);
            turned_over(all_of);
            for (int64_t t = 0; t < count; t++) {
                const row *one = &texts[t].row;
                const piece *own = one->group->own + number;
                char *to = own->keys + 2 * (which * own->values + one->index * own->row + key_head * own->head + from);
                int64_t first = texts[t].first - block * SIDE, last = first + texts[t].count;
                for (int64_t lane = first > 0 ? first : 0; lane < SIDE && lane < last; lane++)
                    store(to, (one->own + lane - first) * size, all_of[lane], 1);
            }
        }
}
#endif
