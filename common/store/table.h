/* The table of held blobs in memory: digest to size, flags, media type, scopes. 64 bytes an entry (96 for sha512), and
 * 4 to 8 for the hash index.
 *
 * Threads: any for table_find, table_get and table_touch, without locks: each shard has a sequence number that is odd
 * while a writer changes it, and a reader that saw it change reads again. Any for all others, but the caller must keep
 * changes of one digest apart (by the store's stripe lock), because they read first and write afterwards. */
#ifndef ENTREPOT_STORE_TABLE_H
#define ENTREPOT_STORE_TABLE_H

#include "common/core/digest.h"

struct table;

#define TABLE_SIZE_MAX ((1LL << 48) - 1)
#define TABLE_SCOPES 2 /* kept in the entry; more go to a list beside the table */
/* More are not remembered of one entry, so that a blob that everybody refers to cannot grow without end. */
#define TABLE_SCOPES_MAX 4096
#define TABLE_FREQ_MAX 3

struct table_value {
    int64_t size;
    unsigned flags;                /* 8 bits */
    uint16_t media;                /* 0: none */
    bool more;                     /* there are scopes beyond these two */
    uint32_t scopes[TABLE_SCOPES]; /* 24 bits each, 0: none */
};

struct table *table_new(void);
void table_free(struct table *t);
/* Room for n entries more, so that loading them never grows a shard. */
void table_reserve(struct table *t, size_t n);

/* The number of d's entry, never 0; 0: not held. v may be NULL. */
uint32_t table_find(const struct table *t, const struct digest *d, struct table_value *v);
/* The entry of that number. False if there is none. */
bool table_get(const struct table *t, uint32_t id, struct digest *d, struct table_value *v);
/* Numbers in use are below this. */
uint32_t table_end(const struct table *t);

/* Adds or overwrites; returns the entry's number, *existed tells which. used_at is set for new entries only. */
uint32_t table_put(struct table *t, const struct digest *d, const struct table_value *v, uint32_t used_at,
                   bool *existed);
/* Takes d out, so that nobody finds it. Its number stays reserved until table_release. 0: was not held. */
uint32_t table_remove(struct table *t, const struct digest *d);
void table_release(struct table *t, uint32_t id);

/* Adds a scope to v (and to the list beside the table when v is full). False if it was there, or there are
 * TABLE_SCOPES_MAX. v is not stored. */
bool table_scope_add(struct table *t, const struct digest *d, struct table_value *v, uint32_t scope);
bool table_scope_has(const struct table *t, const struct digest *d, const struct table_value *v, uint32_t scope);
/* fn for every scope of every entry, some more than once. What changes meanwhile may be left out. */
void table_each_scope(const struct table *t, void (*fn)(uint32_t scope, void *arg), void *arg);

/* --- use: hints for eviction, each atomic by itself --- */
/* One use more. if_rested: only if the last that counted is TABLE_APART_S ago, else it belongs to that. */
#define TABLE_APART_S 60
void table_touch(struct table *t, uint32_t id, uint32_t now, bool if_rested);
unsigned table_freq(const struct table *t, uint32_t id);
void table_set_freq(struct table *t, uint32_t id, unsigned freq);
int64_t table_size(const struct table *t, uint32_t id);
uint32_t table_used_at(const struct table *t, uint32_t id);
/* True once after a touch. */
bool table_take_dirty(struct table *t, uint32_t id);
/* A keyed 64-bit hash of d, the same for the table's life. */
uint64_t table_hash(const struct table *t, const struct digest *d);

#endif
