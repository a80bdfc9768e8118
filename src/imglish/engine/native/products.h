/* Vectors times matrices in float32, bfloat16 or int8, at the speed at which memory is read. */
#pragma once
#include "model.h"
#include "vectors.h"

#define TILE 8       /* outputs of a matrix at once */
#define STREAMS 4    /* of them whose weights are read side by side */
#define LEFT 8       /* one of so many tiles is not given out beforehand */
#define PIECE 4      /* tiles of it that are taken at once */
#define MOST_ROWS 16 /* that are multiplied at once */
#define PAGE 4096    /* bytes: what is read in order is brought in ahead of time within one */

INLINE int64_t width(int kind) { return kind == SINGLE ? 4 : kind == HALF ? 2 : 1; }

/* found[TILE * row + apart * output] for STREAMS outputs, `stride` bytes apart, or one, and 4 rows or one. Weights are
   asked for `ahead` bytes before they are needed. In bfloat16 two of them are one number: x is dealt (see `deal`). */
INLINE void dots(const char *weight, int64_t inputs, int64_t stride, int64_t ahead, const float *x, float *found,
                 int64_t apart, int kind, int outputs, int rows) {
    many total[STREAMS][4];
    for (int o = 0; o < outputs; o++)
        for (int r = 0; r < rows; r++) total[o][r] = spread(0);
    int step = kind == HALF ? 2 * LANES : LANES;
    for (int64_t at = 0; at < inputs; at += step) {
        for (int o = 0; o < outputs; o++) {
            const char *here = weight + o * stride + at * width(kind);
            __builtin_prefetch(here + ahead);
            if (kind == HALF) {
                many even, odd;
                both(here, 0, 1, &even, &odd);
                for (int r = 0; r < rows; r++) total[o][r] += even * load(x, r * inputs + at);
                for (int r = 0; r < rows; r++) total[o][r] += odd * load(x, r * inputs + at + LANES);
            } else {
                many one = kind == SINGLE ? *(const many *)here : numbers(here);
                for (int r = 0; r < rows; r++) total[o][r] += one * load(x, r * inputs + at);
            }
        }
    }
    for (int o = 0; o < outputs; o++)
        for (int r = 0; r < rows; r++) found[TILE * r + apart * o] = sum(total[o][r]);
}

INLINE void dotted(const char *weight, int64_t inputs, int64_t stride, int64_t ahead, const float *x, int64_t rows,
                   float *found, int64_t apart, int kind, int outputs) {
    for (; rows >= 4; rows -= 4, x += 4 * inputs, found += 4 * TILE)
        dots(weight, inputs, stride, ahead, x, found, apart, kind, outputs, 4);
    for (; rows > 0; rows--, x += inputs, found += TILE)
        dots(weight, inputs, stride, ahead, x, found, apart, kind, outputs, 1);
}

/* found[TILE * row + output] of up to TILE outputs. Processors bring in ahead of time what is read in order, a page at
   a time: a tile is read in STREAMS, and where an output takes half a page, two in a row are one stream. */
INLINE void tile(const char *weight, int64_t inputs, const float *x, int64_t rows, float *found, int kind,
                 int64_t outputs) {
    int64_t bytes = inputs * width(kind), joined = 2 * bytes <= PAGE ? 2 : 1;
    if (outputs < TILE) {
        for (int64_t o = 0; o < outputs; o++)
            dotted(weight + o * bytes, inputs, 0, PAGE, x, rows, found + o, 0, kind, 1);
        return;
    }
    for (int64_t base = 0; base < TILE; base += STREAMS * joined)
        for (int64_t k = base; k < base + joined; k++)
            dotted(weight + k * bytes, inputs, joined * bytes, TILE * bytes, x, rows, found + k, joined, kind, STREAMS);
}

static void some(const matrix *by, int64_t inputs, const float *x, int64_t rows, int64_t first, int64_t outputs,
                 float *found) {
    const char *weight = (const char *)by->weight + first * inputs * width((int)by->kind);
    if (by->kind == HALF) tile(weight, inputs, x, rows, found, HALF, outputs);
    else if (by->kind == SINGLE) tile(weight, inputs, x, rows, found, SINGLE, outputs);
    else tile(weight, inputs, x, rows, found, INT8, outputs);
    for (int64_t r = 0; by->scale && r < rows; r++)
        for (int64_t o = 0; o < outputs; o++) found[TILE * r + o] *= by->scale[first + o];
    for (int64_t r = 0; by->bias && r < rows; r++)
        for (int64_t o = 0; o < outputs; o++) found[TILE * r + o] += by->bias[first + o];
}

/* What one of the threads does of all outputs, whole tiles: most of its own share, and then pieces of what is left,
   whoever comes first; a processor's cores are not equally quick at all times. */
typedef struct { int64_t mine, of, *taken; } worker;
typedef struct { int64_t first, last, turn; } span;

INLINE int next(const worker *one, int64_t total, span *found) {
    int64_t tiles = (total + TILE - 1) / TILE, fixed = one->of > 1 ? tiles - tiles / LEFT : tiles;
    if (found->turn++ == 0) {
        found->first = fixed * one->mine / one->of * TILE, found->last = fixed * (one->mine + 1) / one->of * TILE;
    } else {
        if (fixed == tiles) return 0;
        found->first = (fixed + __atomic_fetch_add(one->taken, PIECE, __ATOMIC_RELAXED)) * TILE;
        found->last = found->first + PIECE * TILE;
    }
    if (found->last > total) found->last = total;
    return found->first < total;
}

/* y (rows, outputs) of x (rows, inputs), this worker's part; added to what is there where `more`. */
static void product(const matrix *by, int64_t inputs, const float *x, int64_t rows, float *y, worker one, int more) {
    float found[TILE * MOST_ROWS];
    for (span of = {0}; next(&one, by->outputs, &of);)
        for (int64_t o = of.first; o < of.last; o += TILE) {
            int64_t outputs = of.last - o < TILE ? of.last - o : TILE;
            some(by, inputs, x, rows, o, outputs, found);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t k = 0; k < outputs; k++) {
                    float *place = y + r * by->outputs + o + k;
                    *place = more ? *place + found[TILE * r + k] : found[TILE * r + k];
                }
        }
}

/* Where number `at` stands in a vector that is multiplied by weights of half the bits: even ones first, of each 32. */
INLINE int64_t dealt(int64_t at, int half) {
    return half ? (at & ~(int64_t)(2 * LANES - 1)) + (at & 1) * LANES + (at & (2 * LANES - 1)) / 2 : at;
}
static void deal(float *x, int64_t size, int half) {
    float before[2 * LANES];
    for (int64_t at = 0; half && at < size; at += 2 * LANES) {
        memcpy(before, x + at, sizeof before);
        for (int k = 0; k < LANES; k++) x[at + k] = before[2 * k], x[at + LANES + k] = before[2 * k + 1];
    }
}

static void undeal(float *x, int64_t size) {
    float before[2 * LANES];
    for (int64_t at = 0; at < size; at += 2 * LANES) {
        memcpy(before, x + at, sizeof before);
        for (int k = 0; k < LANES; k++) x[at + 2 * k] = before[k], x[at + 2 * k + 1] = before[LANES + k];
    }
}

static void normed(const float *x, const float *weight, float epsilon, int64_t size, float *y) {
    many squares = spread(0);
    for (int64_t at = 0; at < size; at += LANES) squares += load(x, at) * load(x, at);
    many scale = spread(1 / root(sum(squares) / (float)size + epsilon));
    for (int64_t at = 0; at < size; at += LANES) store(y, at, load(x, at) * scale * load(weight, at), 0);
}

/* Rows after a norm, as they are multiplied. */
static void cleaned(const float *x, int64_t rows, int64_t size, const float *weight, float epsilon, int half,
                    float *y) {
    for (int64_t r = 0; r < rows; r++) {
        normed(x + r * size, weight, epsilon, size, y + r * size);
        deal(y + r * size, size, half);
    }
}

/* GELU: x times the share of a normal distribution below x (erf by 7.1.26 of Abramowitz and Stegun, to 1.5e-7) */
INLINE many normal(many x) {
    many size = (many)((bits)x & 0x7fffffffu), far = 0.7071067812f * size, t = 1.0f / (1.0f + 0.3275911f * far);
    many rest = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    return 0.5f * (x + size * (1.0f - rest * power(-far * far)));
}

enum { SWISH, TANH, LOGISTIC, NORMAL }; /* SiLU; GELU by tanh, by a logistic function, itself (Hendrycks, Gimpel 2016) */
INLINE many activated(many x, int64_t how) {
    if (how == NORMAL) return normal(x);
    many inner = how == TANH ? 1.5957691216f * (x + 0.044715f * x * x * x) : how == LOGISTIC ? 1.702f * x : x;
    return x / (1.0f + power(-inner));
}

/* What stands between up and down: the activation of the gate's outputs times those of up. */
static void gated(const decoder *all, const layer *this, const float *x, int64_t rows, float *y, worker one) {
    float gate[TILE * MOST_ROWS + LANES] = {0}, up[TILE * MOST_ROWS + LANES] = {0};
    for (span of = {0}; next(&one, all->wide, &of);)
        for (int64_t o = of.first; o < of.last; o += TILE) {
            int64_t outputs = of.last - o < TILE ? of.last - o : TILE;
            some(&this->up, all->hidden, x, rows, o, outputs, gate);
            some(&this->up, all->hidden, x, rows, all->wide + o, outputs, up);
            for (int64_t at = 0; at < TILE * rows; at += LANES) {
                store(gate, at, activated(load(gate, at), all->activation) * load(up, at), 0);
            }
            for (int64_t r = 0; r < rows; r++)
                for (int64_t k = 0; k < outputs; k++)
                    y[r * all->wide + dealt(o + k, this->down.kind == HALF)] = gate[TILE * r + k];
        }
}
