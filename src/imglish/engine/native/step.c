/* One more token for a few rows through a whole decoder in one call: norms, products, rotary positions, attention.

   Weights are (outputs, inputs) in float32 or bfloat16 and are read once for all rows; all else is float32. Threads
   meet after each product. Nothing is allocated here: everything lies where the caller says. Sizes of vectors and of
   heads are multiples of LANES, of twice as many before weights of bfloat16; the caller has checked that. A row's
   numbers are the same whatever other rows there are, and however many threads. */

#include <stdint.h>
#include "attention.h"
#include "cross.h"
#include "look.h"
#include "model.h"
#include "products.h"
#include "read.h"
#include "threads.h"

/* Numbers of `scratch` that a step needs. */
int64_t room(const decoder *all, int64_t rows, int64_t threads) {
    return rows * ((all->heads * 2 + all->key_heads * 2) * all->size + all->wide + threads * all->hidden);
}

/* x (rows, hidden) becomes what the last layer gives; logits (rows, outputs of the head). */
void step(const decoder *all, const row *rows, int64_t count, float *x, float *logits, float *scratch,
          int64_t threads) {
    int64_t hidden = all->hidden, flat = all->layer->qkv.outputs, wide = all->heads * all->size;
    float *qkv = scratch, *seen = qkv + count * flat, *middle = seen + count * wide, *own = middle + count * all->wide;
    int64_t taken[4 * all->layers + 1]; /* of each product what was given out */
    memset(taken, 0, sizeof taken);
#pragma omp parallel num_threads((int)threads)
    {
        worker one = {which(), how_many(), taken};
        float *clean = own + one.mine * count * hidden;
        int64_t units = count * all->key_heads;
        for (int64_t number = 0; number < all->layers; number++) {
            const layer *this = all->layer + number;
            cleaned(x, count, hidden, this->before_attention, this->epsilon_attention, this->qkv.kind == HALF, clean);
            product(&this->qkv, hidden, clean, count, qkv, one, 0), one.taken++;
#pragma omp barrier
            for (int64_t unit = units * one.mine / one.of; unit < units * (one.mine + 1) / one.of; unit++) {
                int64_t r = unit / all->key_heads;
                attended(all, number, rows + r, unit % all->key_heads, qkv + r * flat, seen + r * wide);
            }
#pragma omp barrier
            product(&this->out, wide, seen, count, x, one, 1), one.taken++;
#pragma omp barrier
            cleaned(x, count, hidden, this->before_mlp, this->epsilon_mlp, this->up.kind == HALF, clean);
            gated(all, this, clean, count, middle, one), one.taken++;
#pragma omp barrier
            product(&this->down, all->wide, middle, count, x, one, 1), one.taken++;
#pragma omp barrier
        }
        cleaned(x, count, hidden, all->norm, all->epsilon, all->head.kind == HALF, clean);
        product(&all->head, hidden, clean, count, logits, one, 0);
    }
}

/* y (rows, outputs) of one matrix alone; `scratch` has room for as many numbers as x. */
void multiply(const matrix *by, int64_t inputs, const float *x, int64_t rows, float *y, float *scratch,
              int64_t threads) {
    int64_t taken = 0;
    memcpy(scratch, x, (size_t)(rows * inputs) * sizeof *x);
    deal(scratch, rows * inputs, by->kind == HALF);
#pragma omp parallel num_threads((int)threads)
    {
        worker one = {which(), how_many(), &taken};
        product(by, inputs, scratch, rows, y, one, 0);
    }
}
