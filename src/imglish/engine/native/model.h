/* A decoder and the rows that take a token, as `imglish.engine._fast_native` lays them down. */
#pragma once
#include <stdint.h>

enum kind { SINGLE, HALF, INT8 };                         /* float32, bfloat16, int8 with a scale for each output */

typedef struct { const void *weight; const float *bias, *scale; int64_t outputs, kind; } matrix;
typedef struct {
    matrix qkv, out, up, down;
    const float *before_attention, *between, *before_mlp; /* `between` may be NULL */
    float epsilon_attention, epsilon_between, epsilon_mlp;
    int64_t window;                                       /* 0: all tokens are seen */
} layer;
typedef struct {
    int64_t layers, hidden, heads, key_heads, size, wide; /* `wide`: between up and down */
    int32_t half_keys, activation;                        /* 0: SiLU, 1: GELU by tanh */
    float epsilon;
    const float *norm;
    const layer *layer;
    matrix head;
} decoder;
typedef struct { char *keys; int64_t values, row, head; } piece; /* of one layer; distances in numbers */
typedef struct {
    int64_t parts, begin;                                 /* of a prefix, and how many tokens it has */
    const int64_t *lengths;
    const piece *prefix, *own;                            /* [part][layer], [layer] */
} group;
typedef struct {
    const group *group;
    int64_t index, own;                                   /* its place in the group, its tokens beyond the prefix */
    const float *angles;                                  /* (2, 3, size): cosines, sines for a query, key, value */
} row;
