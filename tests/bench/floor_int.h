// SPDX-License-Identifier: Apache-2.0
/* tests/bench/floor_int.h - shared by the files of the floor. */
#ifndef ORLOP_BENCH_FLOOR_INT_H
#define ORLOP_BENCH_FLOOR_INT_H

#include <stdint.h>

#define CK(x) floor__check((long) (x), #x, __FILE__, __LINE__)
long floor__check(long r, const char *what, const char *file, int line);
void floor__put(const char *path, const char *text);
/* A new network namespace: lo up, and with ADDRESS (not 0) a routed link. */
void floor__network(uint32_t address);

#endif
