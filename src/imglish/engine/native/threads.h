/* Which of how many threads: one alone where the compiler has no OpenMP. */
#pragma once
#include "vectors.h"

#ifdef _OPENMP
#include <omp.h>
INLINE int64_t which(void) { return omp_get_thread_num(); }
INLINE int64_t how_many(void) { return omp_get_num_threads(); }
#else
INLINE int64_t which(void) { return 0; }
INLINE int64_t how_many(void) { return 1; }
#endif
