/* Products of 16 x 32 by 32 x 16 numbers of bfloat16: by the processor's tiles (AMX), or its products of pairs.

   What is multiplied stands as tokens need it who are the 16 lanes of a vector: a `pair` of lanes holds two numbers
   that follow one another of one token. Weights stand as they lie. */
#pragma once
#include "vectors.h"

#define SIDE 16            /* of a tile of sums, in float32 */
#define DEEP 32            /* numbers that a step sums over */
#define STEP (SIDE * SIDE) /* pairs of a step */

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && !defined(NO_MANY)
#define MANY 1
#if defined(__AMX_BF16__) && defined(__linux__) && !defined(NO_TILES)
#define TILES 1
#include <sys/syscall.h>
#include <unistd.h>
typedef struct { uint8_t palette, start, none[14]; uint16_t bytes[16]; uint8_t rows[16]; } shapes;
static const shapes all_whole = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
#endif

/* Whether a process may use what is here; Linux wants to be asked for tiles (ARCH_REQ_XCOMP_PERM, XTILEDATA). */
int many_ready(void) {
#ifdef TILES
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
    return 1;
#endif
}

/* A thread's tiles are whole ones between these; what others had set up is left as it was. */
INLINE void begin_tiles(void *before) {
#ifdef TILES
    _tile_storeconfig(before);
    __asm__ volatile("" ::: "memory");
    _tile_loadconfig(&all_whole);
#else
    (void)before;
#endif
}
INLINE void end_tiles(void *before) {
#ifdef TILES
    if (((shapes *)before)->palette) _tile_loadconfig(before);
    else _tile_release();
#else
    (void)before;
#endif
}

/* Weights that come soon are asked for meanwhile: so many lines of each of two places at every step. */
typedef struct { const char *first, *second; int64_t lines; } soon;
INLINE void asked_for(const soon *one, int64_t k) {
    for (int64_t line = k * one->lines; line < (k + 1) * one->lines; line++) {
        __builtin_prefetch(one->first + line * 64, 0, 2);
        __builtin_prefetch(one->second + line * 64, 0, 2);
    }
}

/* Sums [row of a][lane of b] of 2 x 2 tiles, added to what is in `found` but where `fresh`: (a, b), (a, other),
   (second, b), (second, other). Rows of a and second are `stride` bytes apart, steps `far` bytes. */
INLINE void square(const char *a, const char *second, int64_t stride, int64_t far, const pair *b, const pair *other,
                   int64_t steps, float *const *found, int fresh, int columns, soon next) {
#ifdef TILES
    __asm__ volatile("" ::: "memory"); /* GCC does not know that tiles are read from memory */
    if (fresh) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, found[0], 64);
        _tile_loadd(2, found[2], 64);
        if (columns > 1) {
            _tile_loadd(1, found[1], 64);
            _tile_loadd(3, found[3], 64);
        }
    }
    for (int64_t k = 0; k < steps; k++) {
        _tile_loadd(4, a + k * far, stride);
        _tile_loadd(6, b + k * STEP, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (columns > 1) {
            _tile_loadd(7, other + k * STEP, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        asked_for(&next, k);
        _tile_loadd(5, second + k * far, stride);
        _tile_dpbf16ps(2, 5, 6);
        if (columns > 1) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, found[0], 64);
    _tile_stored(2, found[2], 64);
    if (columns > 1) {
        _tile_stored(1, found[1], 64);
        _tile_stored(3, found[3], 64);
    }
#else
    (void)next;
    for (int part = 0; part < 8; part++) { /* 4 rows by 2 tiles at once, of a and then of second */
        const char *from = (part < 4 ? a : second) + part % 4 * 4 * stride;
        float *low = found[part / 4 * 2] + part % 4 * 4 * SIDE, *high = found[part / 4 * 2 + 1] + part % 4 * 4 * SIDE;
        __m512 total[4], more[4];
        for (int r = 0; r < 4; r++) {
            total[r] = fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(low + r * SIDE);
            more[r] = fresh || columns < 2 ? _mm512_setzero_ps() : _mm512_loadu_ps(high + r * SIDE);
        }
        for (int64_t k = 0; k < steps; k++)
            for (int p = 0; p < DEEP / 2; p++) {
                __m512bh one = (__m512bh)_mm512_loadu_si512(b + k * STEP + p * SIDE);
                __m512bh next = columns > 1 ? (__m512bh)_mm512_loadu_si512(other + k * STEP + p * SIDE) : one;
                for (int r = 0; r < 4; r++) {
                    int32_t number;
                    memcpy(&number, from + r * stride + k * far + 4 * p, sizeof number);
                    __m512bh weight = (__m512bh)_mm512_set1_epi32(number);
                    total[r] = _mm512_dpbf16_ps(total[r], weight, one);
                    if (columns > 1) more[r] = _mm512_dpbf16_ps(more[r], weight, next);
                }
            }
        for (int r = 0; r < 4; r++) {
            _mm512_storeu_ps(low + r * SIDE, total[r]);
            if (columns > 1) _mm512_storeu_ps(high + r * SIDE, more[r]);
        }
    }
#endif
}

#ifdef TILES
/* Sums [row of a][lane] of a by up to four tiles of lanes: rows of sums are `apart` bytes from one another. */
INLINE void tall(const char *a, int64_t stride, const pair *const *b, int64_t steps, float *const *found,
                 int64_t apart, int fresh, int columns) {
    __asm__ volatile("" ::: "memory");
    if (fresh) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, found[0], apart);
        if (columns > 1) _tile_loadd(1, found[1], apart);
        if (columns > 2) _tile_loadd(2, found[2], apart);
        if (columns > 3) _tile_loadd(3, found[3], apart);
    }
    for (int64_t k = 0; k < steps; k++) {
        _tile_loadd(4, a + k * DEEP * 2, stride);
        _tile_loadd(5, b[0] + k * STEP, 64);
        _tile_dpbf16ps(0, 4, 5);
        if (columns > 1) {
            _tile_loadd(6, b[1] + k * STEP, 64);
            _tile_dpbf16ps(1, 4, 6);
        }
        if (columns > 2) {
            _tile_loadd(5, b[2] + k * STEP, 64);
            _tile_dpbf16ps(2, 4, 5);
        }
        if (columns > 3) {
            _tile_loadd(6, b[3] + k * STEP, 64);
            _tile_dpbf16ps(3, 4, 6);
        }
    }
    _tile_stored(0, found[0], apart);
    if (columns > 1) _tile_stored(1, found[1], apart);
    if (columns > 2) _tile_stored(2, found[2], apart);
    if (columns > 3) _tile_stored(3, found[3], apart);
}
#endif

/* 16 vectors of 16: rows become columns. */
INLINE void turned_over(many *x) {
    __m512i r[16], t[16];
    for (int i = 0; i < 16; i++) r[i] = (__m512i)x[i];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]), r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]), r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int j = 0; j < 4; j++) {
        __m512i low = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88), high = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
        __m512i less = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
        __m512i more = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
        t[j] = _mm512_shuffle_i32x4(low, less, 0x88), t[8 + j] = _mm512_shuffle_i32x4(low, less, 0xdd);
        t[4 + j] = _mm512_shuffle_i32x4(high, more, 0x88), t[12 + j] = _mm512_shuffle_i32x4(high, more, 0xdd);
    }
    for (int i = 0; i < 16; i++) x[i] = (many)t[i];
}

INLINE bits rounded(many value) { /* to bfloat16, nearest, ties to even: in the upper halves */
    bits raw = (bits)value;
    return (raw + 0x7fff + ((raw >> 16) & 1)) & 0xffff0000u;
}
INLINE void paired(pair *to, many first, many second) {
    *(bits *)to = (bits)((rounded(first) >> 16) | rounded(second));
}
#else
int many_ready(void) { return 0; }
#endif
