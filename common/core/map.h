/* A hash table from bytes to a pointer. Keys are hashed by SipHash-2-4 under a random key, so that chosen keys cannot
 * make it slow. Thread: owned by its user; no locking. */
#ifndef ENTREPOT_CORE_MAP_H
#define ENTREPOT_CORE_MAP_H

#include "common/core/base.h"

struct map;

/* free_value (may be NULL) is called for each value that is replaced, deleted, or still there when the map is freed. */
struct map *map_new(void (*free_value)(void *));
void map_free(struct map *m);
size_t map_len(const struct map *m);
/* Keys are copied. Replaces (and frees) an existing value. Aborts when memory is out. */
void map_set(struct map *m, const void *key, size_t key_len, void *value);
/* The value, or NULL. It stays the map's. */
void *map_get(const struct map *m, const void *key, size_t key_len);
/* Removes without freeing the value, which is returned (NULL if absent). */
void *map_take(struct map *m, const void *key, size_t key_len);
/* Removes and frees the value. False if absent. */
bool map_del(struct map *m, const void *key, size_t key_len);
/* Calls fn for every entry, in no particular order, until fn returns false. fn must not change the map. */
void map_each(const struct map *m, bool (*fn)(const void *key, size_t key_len, void *value, void *arg), void *arg);
/* The map's hash of a key, for sharding: 64 bits, under a key that differs in each process. */
uint64_t map_hash(const void *key, size_t key_len);

#define map_set_s(m, s, v) map_set(m, s, strlen(s), v)
#define map_get_s(m, s) map_get(m, s, strlen(s))
#define map_del_s(m, s) map_del(m, s, strlen(s))

#endif
