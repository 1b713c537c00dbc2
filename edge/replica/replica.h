/* This edge's copy of central's catalogue, in memory. Each tile is one block: its records side by side in the order of
 * their keys, found by halving. A block never changes. A change makes a new one, puts it in the place of the old, and
 * frees that when no reader uses it any more.
 *
 * Threads: any for what is marked so, without a lock; one at a time for all others (edge/replica/follow.h sees to
 * it). */
#ifndef ENTREPOT_EDGE_REPLICA_H
#define ENTREPOT_EDGE_REPLICA_H

#include "common/records/place.h"
#include "common/records/short.h"
#include "common/records/tile.h"

struct replica;

/* limit: bytes that the records may take; 0: no limit. */
struct replica *replica_new(int64_t limit);
/* When nobody reads any more. */
void replica_free(struct replica *r);

/* Any thread. What is known of a digest or a tag; false: nothing. Of a manifest the caller calls manifest_fini(&m->doc)
 * if there is one. */
bool replica_blob(const struct replica *r, const struct digest *d, int64_t *size);
/* The only blob whose digest begins so; false: there is none, or several. As struct record_names wants it; arg: the
 * replica. */
bool replica_named(const uint8_t name[SHORT_BYTES], uint8_t digest[RECORD_DIGEST], int64_t *size, void *arg);
bool replica_manifest(const struct replica *r, const struct digest *d, struct wire_manifest *m);
/* key: of the tag (record_tag_key). */
bool replica_tag(const struct replica *r, const uint8_t *key, size_t key_len, struct tag_facts *t);

/* From now on digests are of this epoch: they are counted anew if it is another than before. */
void replica_set_epoch(struct replica *r, const uint8_t epoch[EPOCH_BYTES]);
/* Adds or replaces a sound record. ERR_TOO_BIG: it is over the limit; nothing has changed. */
int replica_put(struct replica *r, enum record_kind kind, const uint8_t *record, size_t len) must_check;
/* Removes the record with that key, if there is one. */
void replica_remove(struct replica *r, enum record_kind kind, const uint8_t *key, size_t len);
/* Replaces a tile. ERR_TOO_BIG: it is over the limit, and the tile is empty. */
int replica_set_tile(struct replica *r, unsigned tile, const struct tile_records *records) must_check;
void replica_empty_tile(struct replica *r, unsigned tile);

/* What the replica holds at one moment, for as long as it is wanted; one at a time. Made by whoever changes the replica;
 * read and freed on any thread. */
struct replica_view;
struct replica_view *replica_view_new(struct replica *r);
void replica_view_free(struct replica_view *v);
/* How many records a tile has, and their bytes. */
size_t replica_view_tile(const struct replica_view *v, unsigned tile, size_t *bytes);
void replica_view_each(const struct replica_view *v, unsigned tile,
                       void (*fn)(const uint8_t *record, size_t len, void *arg), void *arg);

void replica_tile_digest(const struct replica *r, unsigned tile, struct set_digest *out);
/* Of all tiles. */
void replica_digest(const struct replica *r, struct set_digest *out);

struct replica_stats {
    int64_t records[RECORD_KINDS], bytes, limit;
};
/* Any thread. */
void replica_stats(const struct replica *r, struct replica_stats *out);

#endif
