/* Many tokens of a few texts through a whole decoder in one call: prompts, turns and questions after a prefix.

   Weights, keys and values are bfloat16, sums and what flows from layer to layer float32. A token's numbers are the
   same whatever stands beside it, and however many threads. */
#pragma once
#include "desk.h"

#ifdef MANY
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

/* Keys whose values, and whose weights, follow one another: CHUNK at a time. */
typedef struct { int64_t values, weights, chunks; } stretch;

/* Whether any lane sees one of CHUNK keys. */
INLINE int is_seen_by_any(const uint16_t *lanes) {
    uint64_t any = 0, some;
    for (int k = 0; k < CHUNK; k += 4) memcpy(&some, lanes + k, sizeof some), any |= some;
    return any != 0;
}

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
    int64_t window = one->seen ? 0 : this->window;          /* no text of a tree is longer */
    stretch runs[at->keys / CHUNK + 1];
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
        const uint16_t *lanes = one->seen ? one->seen + (block - one->first / SIDE) * one->wide : 0;
        for (int64_t query = head * queries; query < (head + 1) * queries; query++) {
            const float *q = at->qkv + (block * flat + query * size) * SIDE;
            for (int64_t d = 0; d < size; d += 2)
                paired(asking + d / 2 * SIDE, load(q, d * SIDE), load(q, (d + 1) * SIDE));
            many most = spread(NOTHING);
            float *to = scores;
            int64_t stretches = 0, chunk = 0;
            for (int64_t s = 0; s < segments; s++) {
                int own = s == among->parts;
                int64_t length = own ? one->row.own + last : each[s].length;
                for (int64_t key = 0; key < length; key += CHUNK, chunk++) {
                    if (own && lanes && !is_seen_by_any(lanes + key)) continue;
                    if (stretches && runs[stretches - 1].values + runs[stretches - 1].chunks == chunk)
                        runs[stretches - 1].chunks++;
                    else
                        runs[stretches++] = (stretch){chunk, (to - scores) / (2 * STEP), 1};
                    const char *tail = tails + s * SIDE * size * 2, *here = each[s].keys + key * size * 2;
                    const char *first = key + SIDE <= each[s].length ? here : tail;
                    const char *second = key + CHUNK <= each[s].length ? here + SIDE * size * 2 : tail;
                    square(first, second, size * 2, LINE, asking, 0, size / DEEP,
                           (float *const[4]){to, 0, to + STEP, 0}, 1, 1, (soon){0});
                    int32_t now = (int32_t)(each[s].begin + key);
                    int all_seen = key + CHUNK <= length && now + CHUNK - 1 <= stands[0] &&
                                   (!window || stands[SIDE - 1] - now < window);
                    for (int64_t k = 0; k < CHUNK; k++) {
                        if (own && lanes) {
                            __m512 score = (__m512)load(to, k * SIDE), nothing = (__m512)spread(NOTHING);
                            store(to, k * SIDE, (many)_mm512_mask_mov_ps(nothing, lanes[key + k], score), 0);
                        } else if (!all_seen) {
                            whole apart = stands - (now + (int32_t)k);
                            whole is_seen = apart >= 0;
                            if (window) is_seen &= apart < (int32_t)window;
                            if (key + k >= length) is_seen = (whole){0};
                            store(to, k * SIDE, chosen(is_seen, load(to, k * SIDE), spread(NOTHING)), 0);
                        }
                        many score = load(to, k * SIDE);
                        most = chosen(score > most, score, most);
                    }
                    to += 2 * STEP;
                }
            }
            int64_t keys = (to - scores) / SIDE;
            many scale = 1.0f / weights_of(scores, keys, most, weights);
            for (int64_t d = 0; d < size; d += DEEP) {
                for (int64_t r = 0; r < stretches; r++) {
                    const char *from = (const char *)(values + (runs[r].values * (size / SIDE) + d / SIDE) * STEP);
                    square(from, from + STEP * 4, LINE, size / SIDE * STEP * 4, weights + runs[r].weights * STEP, 0,
                           runs[r].chunks, found, r == 0, 1, (soon){0});
                }
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
