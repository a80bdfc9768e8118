/* Many tokens of a few texts through a whole decoder in one call: prompts, turns and questions after a prefix.

   Weights, keys and values are bfloat16, sums and what flows from layer to layer float32. A token's numbers are the
   same whatever stands beside it, and however many threads. */
#pragma once
#include "attention.h"
#include "many.h"

#ifdef MANY
#define CHUNK 32 /* keys whose values are summed at once */

typedef struct { row row; int64_t first, count; } text; /* its first token among all; angles of each of its tokens */
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

/* Values [dimension][key] of a segment, as weights are multiplied by them; keys that are not there have zeros. */
static void values_of(const segment *from, int64_t size, pair *to) {
    for (int64_t first = 0; first < from->length; first += CHUNK)
        for (int64_t at = 0; at < size; at += SIDE, to += STEP) {
            many all_of[SIDE];
            for (int64_t p = 0; p < SIDE; p++) {
                bits both[2];
                for (int k = 0; k < 2; k++) {
                    int64_t key = first + 2 * p + k;
                    const halves *here = (const halves *)(from->values + (key * size + at) * 2);
                    both[k] = key < from->length ? __builtin_convertvector(*here, bits) : (bits){0};
                }
                all_of[p] = (many)(both[0] | both[1] << 16);
            }
            turned_over(all_of);
            for (int k = 0; k < SIDE; k++) *(many *)(to + k * SIDE) = all_of[k];
        }
}

/* Whose prefix a worker has laid out; texts that share one follow one another. */
typedef struct { const group *among; int64_t number, head; } prepared;

/* One key head of one text: every `parts`th of its blocks. What is sought is kept in memory of the worker's own. */
static void attended_many(const decoder *all, int64_t number, const text *one, int64_t head, const char *wanted,
                          int64_t part, int64_t parts, const desk *at, prepared *known, char *memory) {
    const layer *this = all->layer + number;
    const group *among = one->row.group;
    int64_t size = all->size, queries = all->heads / all->key_heads, flat = this->qkv.outputs;
    int64_t segments = among->parts + 1;
    float *scores = (float *)memory;
    pair *weights = (pair *)(scores + at->keys * SIDE), *values = weights + at->keys / 2 * SIDE;
    pair *asking = values + at->keys * size / 2;
    float *found[4] = {(float *)(asking + size / 2 * SIDE), 0, 0, 0};
    found[2] = found[0] + STEP;
    char *tails = (char *)(found[0] + 2 * STEP);
    segment *each = (segment *)(tails + at->parts * SIDE * size * 2);
    int64_t begin = 0;
    int is_known = known->among == among && known->number == number && known->head == head;
    *known = (prepared){among, number, head};
    pair *place = values;
    for (int64_t s = 0; s < segments; s++) {
        int own = s == among->parts;
        const piece *from = own ? among->own + number : among->prefix + s * all->layers + number;
        const char *keys = from->keys + 2 * (head * from->head + (own ? one->row.index * from->row : 0));
        each[s] = (segment){keys, keys + 2 * from->values, own ? one->row.own + one->count : among->lengths[s], begin};
        if (own || !is_known) values_of(each + s, size, place);
        int64_t chunks = (each[s].length + CHUNK - 1) / CHUNK, rest = each[s].length % SIDE;
        place += chunks * (size / SIDE) * STEP;
        begin += each[s].length;
        memset(tails + s * SIDE * size * 2, 0, (size_t)(SIDE * size * 2));
        memcpy(tails + s * SIDE * size * 2, keys + (each[s].length - rest) * size * 2, (size_t)(rest * size * 2));
    }
    int64_t past = each[segments - 1].begin + one->row.own; /* tokens before the text */
    for (int64_t block = one->first / SIDE + part; block <= (one->first + one->count - 1) / SIDE; block += parts) {
        if (wanted && !wanted[block]) continue;
        int64_t shift = block * SIDE - one->first; /* of the first lane in the text */
        int64_t last = shift + SIDE < one->count ? shift + SIDE : one->count;
        whole stands = {0};
        uint16_t inside = 0;
        for (int lane = 0; lane < SIDE; lane++) {
            int64_t where = shift + lane;
            if (where >= 0 && where < one->count) inside |= (uint16_t)(1 << lane);
            where = where < 0 ? 0 : where < one->count ? where : one->count - 1;
            stands[lane] = (int32_t)(past + where);
        }
        for (int64_t query = head * queries; query < (head + 1) * queries; query++) {
            const float *q = at->qkv + (block * flat + query * size) * SIDE;
            for (int64_t d = 0; d < size; d += 2)
                paired(asking + d / 2 * SIDE, load(q, d * SIDE), load(q, (d + 1) * SIDE));
            many most = spread(NOTHING), total = spread(0);
            float *to = scores;
            for (int64_t s = 0; s < segments; s++) {
                int own = s == among->parts;
                int64_t length = own ? one->row.own + last : each[s].length;
                for (int64_t key = 0; key < length; key += CHUNK, to += 2 * STEP) {
                    const char *tail = tails + s * SIDE * size * 2, *here = each[s].keys + key * size * 2;
                    const char *first = key + SIDE <= each[s].length ? here : tail;
                    const char *second = key + CHUNK <= each[s].length ? here + SIDE * size * 2 : tail;
                    square(first, second, size * 2, LINE, asking, 0, size / DEEP,
                           (float *const[4]){to, 0, to + STEP, 0}, 1, 1, (soon){0});
                    int32_t now = (int32_t)(each[s].begin + key);
                    int all_seen = key + CHUNK <= length && now + CHUNK - 1 <= stands[0] &&
                                   (!this->window || stands[SIDE - 1] - now < this->window);
                    for (int64_t k = 0; k < CHUNK; k++) {
                        if (!all_seen) {
                            whole apart = stands - (now + (int32_t)k);
                            whole is_seen = apart >= 0;
                            if (this->window) is_seen &= apart < (int32_t)this->window;
                            if (key + k >= length) is_seen = (whole){0};
                            store(to, k * SIDE, chosen(is_seen, load(to, k * SIDE), spread(NOTHING)), 0);
                        }
                        many score = load(to, k * SIDE);
                        most = chosen(score > most, score, most);
                    }
                }
            }
            int64_t keys = (to - scores) / SIDE;
            for (int64_t key = 0; key < keys; key += 2) {
                many low = power(load(scores, key * SIDE) - most), high = power(load(scores, (key + 1) * SIDE) - most);
                total += low, total += high;
                paired(weights + key / 2 * SIDE, low, high);
            }
            many scale = 1.0f / total;
            for (int64_t d = 0; d < size; d += DEEP) {
                const char *from = (const char *)(values + d / SIDE * STEP);
                square(from, from + STEP * 4, LINE, size / SIDE * STEP * 4, weights, 0, keys / CHUNK, found, 1, 1,
                       (soon){0});
                int64_t outcome = query * size + d;
                pair *y = at->seen + (block * (all->heads * size / DEEP) + outcome / DEEP) * STEP;
                for (int k = 0; k < DEEP; k += 2) {
                    const float *sums = found[k / SIDE * 2] + k % SIDE * SIDE;
                    pair made[SIDE] __attribute__((aligned(LINE)));
                    paired(made, load(sums, 0) * scale, load(sums, SIDE) * scale);
                    _mm512_mask_storeu_epi32(y + k / 2 * SIDE, inside, *(__m512i *)made);
                }
            }
        }
    }
}

/* x (tokens, hidden) of texts that follow one another; y gets (asked, hidden) of the last layer, of tokens `ask`. */
void read_many(const decoder *all, const text *texts, int64_t count, int64_t tokens, const float *x, const int64_t *ask,
               int64_t asked, float *y, void *scratch, int64_t threads) {
    int64_t every = (tokens + SIDE - 1) / SIDE, number[every], left[every], hidden = all->hidden;
    int64_t wide = all->heads * all->size, few = 0;
    char wanted[every];
    memset(wanted, 0, (size_t)every);
    for (int64_t a = 0; a < asked; a++) wanted[ask[a] / SIDE] = 1;
    for (int64_t b = 0; b < every; b++) {
        number[b] = b;
        if (wanted[b]) left[few++] = b;
    }
    desk at;
    laid_out(all, texts, count, tokens, threads, scratch, &at);
    int64_t parts = (threads + count * all->key_heads - 1) / (count * all->key_heads);
#pragma omp parallel num_threads((int)threads)
    {
        worker one = {which(), how_many(), 0};
        char before[LINE] __attribute__((aligned(LINE))), *memory = at.own + one.mine * at.each;
        prepared known = {0, 0, 0};
        begin_tiles(before);
        for (int64_t b = part_of(every, one.mine, one.of); b < part_of(every, one.mine + 1, one.of); b++)
            entered(all, texts, count, x, b, tokens, &at);
#pragma omp barrier
        for (int64_t n = 0; n < all->layers; n++) {
            const layer *this = all->layer + n;
            int is_last = n == all->layers - 1;
            blocks some = {number, every}, rest = is_last ? (blocks){left, few} : some;
            for (int64_t i = part_of(every, one.mine, one.of); i < part_of(every, one.mine + 1, one.of); i++)
                cleaned_many(at.x + i * hidden * SIDE, hidden, this->before_attention, this->epsilon_attention,
                             at.clean + i * hidden / 2 * SIDE);
#pragma omp barrier
            products(&this->qkv, hidden, at.clean, some, at.qkv, 1, one);
#pragma omp barrier
            int64_t heads = all->heads + all->key_heads, units = every * heads;
            for (int64_t u = part_of(units, one.mine, one.of); u < part_of(units, one.mine + 1, one.of); u++)
                kept_many(all, n, texts, count, u / heads, u % heads, &at);
#pragma omp barrier
            units = all->key_heads * count * parts;
            for (int64_t u = part_of(units, one.mine, one.of); u < part_of(units, one.mine + 1, one.of); u++)
                attended_many(all, n, texts + u / parts % count, u / parts / count, is_last ? wanted : 0, u % parts,
                              parts, &at, &known, memory);
#pragma omp barrier
            products(&this->out, wide, at.seen, rest, at.x, 0, one);
#pragma omp barrier
            for (int64_t i = part_of(rest.count, one.mine, one.of); i < part_of(rest.count, one.mine + 1, one.of); i++)
                cleaned_many(at.x + rest.number[i] * hidden * SIDE, hidden, this->before_mlp, this->epsilon_mlp,
                             at.clean + rest.number[i] * hidden / 2 * SIDE);
#pragma omp barrier
            gated_many(&this->up, hidden, all->wide, all->activation, at.clean, rest, at.middle, 1, one);
#pragma omp barrier
            products(&this->down, all->wide, at.middle, rest, at.x, 0, one);
#pragma omp barrier
        }
        end_tiles(before);
    }
    for (int64_t a = 0; a < asked; a++)
        for (int64_t k = 0; k < hidden; k++)
            y[a * hidden + k] = at.x[((ask[a] / SIDE) * hidden + k) * SIDE + ask[a] % SIDE];
}
#endif
