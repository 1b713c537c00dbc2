/* A hash table from bytes to a pointer (SipHash-like keyed hashing, so hostile keys cannot make it slow).
 * Thread: owned by its user; no locking. */
#ifndef ENTREPOT_CORE_MAP_H
#define ENTREPOT_CORE_MAP_H

#include "common/core/base.h"

struct map;

/* free_value (may be NULL) is called for a value replaced, deleted, or left when the map is freed. */
struct map *map_new(void (*free_value)(void *));
void map_free(struct map *m);
size_t map_len(const struct map *m);
/* Keys are copied. Replaces (and frees) an existing value. Aborts when memory is out. */
void map_set(struct map *m, const void *key, size_t key_len, void *value);
void *map_get(const struct map *m, const void *key, size_t key_len);
/* Removes without freeing the value, which is returned (NULL if absent). */
void *map_take(struct map *m, const void *key, size_t key_len);
bool map_del(struct map *m, const void *key, size_t key_len);
/* Visits all in no order until fn returns false. fn may not change the map. */
void map_each(const struct map *m, bool (*fn)(const void *key, size_t key_len, void *value, void *arg), void *arg);
/* The hash used, for sharding: 64 bits, keyed per process. */
uint64_t map_hash(const void *key, size_t key_len);

#define map_set_s(m, s, v) map_set(m, s, strlen(s), v)
#define map_get_s(m, s) map_get(m, s, strlen(s))
#define map_del_s(m, s) map_del(m, s, strlen(s))

#endif
