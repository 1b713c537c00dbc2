/* The object with the least rank. Thread: one. */
#ifndef ENTREPOT_BENCH_EVICTION_HEAP_H
#define ENTREPOT_BENCH_EVICTION_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct heap;

struct heap *heap_new(uint32_t n_objects);
void heap_free(struct heap *h);
void heap_put(struct heap *h, uint32_t object, double rank); /* or moves it */
bool heap_has(const struct heap *h, uint32_t object);
uint32_t heap_least(const struct heap *h, double *rank); /* 0: none */
void heap_remove(struct heap *h, uint32_t object);

#endif
