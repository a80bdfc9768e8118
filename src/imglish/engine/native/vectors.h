/* Vectors of LANES numbers, as GCC and Clang have them on every processor, and what they are used for here. */
#pragma once
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define LANES 16
#define INLINE static inline __attribute__((always_inline))

typedef float many __attribute__((vector_size(4 * LANES), aligned(4)));
typedef float eight __attribute__((vector_size(2 * LANES)));
typedef float four __attribute__((vector_size(LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef uint32_t pairs __attribute__((vector_size(4 * LANES), aligned(2)));
typedef uint32_t pair;
typedef int32_t whole __attribute__((vector_size(4 * LANES)));
typedef int8_t bytes __attribute__((vector_size(LANES), aligned(1)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2)));

INLINE many spread(float value) { return value - (many){0}; }
INLINE many load(const void *from, int64_t at) { return *(const many *)((const float *)from + at); }
INLINE many numbers(const char *from) {
#ifdef __AVX512F__ /* GCC takes such a conversion apart */
    return (many)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
#endif
    return __builtin_convertvector(__builtin_convertvector(*(const bytes *)from, whole), many);
}
INLINE void store(void *to, int64_t at, many value, int half) {
    if (!half) { *(many *)((float *)to + at) = value; return; }
    bits raw = (bits)value;
    raw = (raw + 0x7fff + ((raw >> 16) & 1)) >> 16; /* to the nearest, ties to even */
    *(halves *)((uint16_t *)to + at) = __builtin_convertvector(raw, halves);
}
INLINE float sum(many value) {
    union { many all; eight half[2]; } first = {value};
    union { eight all; four half[2]; } second = {first.half[0] + first.half[1]};
    four last = second.half[0] + second.half[1];
    return (last[0] + last[2]) + (last[1] + last[3]);
}
/* The sums of 16 vectors, in their order; `each` is overwritten. */
INLINE many sums(many *each) {
#if defined(__clang__) || __GNUC__ >= 12
    for (int left = LANES / 2; left; left /= 2)
        for (int n = 0; n < left; n++) {
            many a = each[2 * n], b = each[2 * n + 1];
            each[n] = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
                      __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
        }
    return each[0];
#else
    many found = {0};
    for (int n = 0; n < LANES; n++) found[n] = sum(each[n]);
    return found;
#endif
}
INLINE float root(float value) { return __builtin_sqrtf(value); }
/* 32 numbers as two vectors: in order, or of bfloat16 those with even places and those with odd ones. */
INLINE void both(const void *from, int64_t at, int half, many *first, many *second) {
    if (!half) {
        *first = load(from, at), *second = load(from, at + LANES);
        return;
    }
    bits raw = *(const pairs *)((const uint16_t *)from + at);
    *first = (many)(raw << 16), *second = (many)(raw & 0xffff0000u);
}
/* exp by 2^n times a polynomial of the rest (Cody and Waite 1980); below -87 it is 0 or nearly so */
INLINE many power(many x) {
    many low = spread(-87.3f), high = spread(88.0f);
    x = (many)(((bits)x & (bits)(x > low)) | ((bits)low & ~(bits)(x > low)));
    x = (many)(((bits)x & (bits)(x < high)) | ((bits)high & ~(bits)(x < high)));
    many scaled = x * 1.44269504f + 12582912.0f; /* the nearest whole number stands in the low bits */
    many count = scaled - 12582912.0f;
    many rest = x - count * 0.693359375f + count * 2.12194440e-4f;
    many found = spread(1.9875691500e-4f);
    found = found * rest + 1.3981999507e-3f;
    found = found * rest + 8.3334519073e-3f;
    found = found * rest + 4.1665795894e-2f;
    found = found * rest + 1.6666665459e-1f;
    found = found * rest + 5.0000001201e-1f;
    found = found * rest * rest + rest + 1.0f;
    return (many)((whole)found + (__builtin_convertvector(count, whole) << 23));
}
