/* The catalogue: what central knows of blobs, manifests and tags, with a log of changes, in catalog.db. Everything in
 * it was learned and can be learned again, so a damaged file is put aside and a new one begun. Thread: as each function
 * says. */
#ifndef ENTREPOT_CATALOG_CATALOG_H
#define ENTREPOT_CATALOG_CATALOG_H

#include "common/content/content.h"
#include "common/core/offload.h"
#include "common/oci/manifest.h"
#include "common/oci/name.h"
#include "common/oci/tag_facts.h"

struct catalog;

/* Control thread. path: …/catalog.db. readers: how many lookups may read at once (as many as the work pool has threads
 * is enough). */
int catalog_open(struct catalog **out, const char *path, unsigned readers, struct error *err) must_check;
/* Control thread, before anything is learned: bytes that the file may take; 0: no limit. Over it the writer removes
 * what is not held, longest lost first, and what refers to it. What is held, its children, and hosted tags always
 * stay. */
void catalog_bound(struct catalog *c, int64_t limit);
/* Control thread, before anything is learned: entries that the change log keeps; 0: a million. */
void catalog_keep_log(struct catalog *c, int64_t entries);
/* Is called on the writer's thread, after each commit that changed a record: it must return at once. */
struct catalog_follower {
    void (*changed)(void *arg);
    void *arg;
};
/* Control thread. NULL: nobody, from when this has returned. */
void catalog_follow(struct catalog *c, const struct catalog_follower *f);
/* Control thread, before anything is learned. recovered is called on the writer's thread, when something is in the file
 * again after facts could not be written: they are lost to it. */
void catalog_on_recovery(struct catalog *c, void (*recovered)(void *arg), void *arg);
/* Control thread, when no lookup runs any more. What was learned before is durable afterwards. */
void catalog_close(struct catalog *c);
/* Any thread but the writer's: waits until everything learned before is durable and can be looked up. */
void catalog_flush(struct catalog *c);
/* The last change; 0: none yet. Any thread. */
uint64_t catalog_sequence(struct catalog *c);

/* Learning: any thread, never blocks. Everything is copied. A fact that is already known changes nothing and is not
 * logged. When the disk is so slow that the queue is full, facts are dropped and counted: they are learned again at the
 * next pull. */

/* held: the bytes are here and were verified. A size that is only promised (held false) never replaces a verified one.
 * proofs may be NULL; their count must fit the size. */
void catalog_learn_blob(struct catalog *c, const struct digest *d, int64_t size, bool held, const uint8_t *proofs,
                        size_t proofs_len);
/* m: as parsed from the verified bytes. */
void catalog_learn_manifest(struct catalog *c, const struct digest *d, const char *media_type, int64_t size,
                            const struct manifest *m);
/* A later check is a change, too: replicas go by how fresh a tag is. */
void catalog_learn_tag(struct catalog *c, const struct repo_name *repo, const char *tag, const struct tag_facts *t);
/* A blob has come into the store. Has no effect if it was not learned before, because its size is not given here. */
void catalog_blob_held(struct catalog *c, const struct digest *d);
/* Evicted: its size and children stay known while there is room. */
void catalog_blob_lost(struct catalog *c, const struct digest *d);
/* The listener that learns all news of content/content.h, until content_leave(…, c). */
struct content_listener catalog_listener(struct catalog *c);

/* Looking up. */
struct catalog_fact {
    struct digest digest; /* asked */
    bool want_proofs;     /* asked */
    int code;             /* 0, ERR_NOT_FOUND, ERR_TOO_BIG (the batch's limit was reached before), ERR_CORRUPT, … */
    int64_t size;         /* -1 unknown */
    bool claimed;         /* the size is what manifests say, if they agree: nobody has seen the bytes */
    bool held;
    bool is_manifest;
    struct manifest manifest; /* media_type, is_index and children, when is_manifest */
    uint8_t *proofs;          /* NULL when not wanted or none are known */
    size_t proofs_len;
};
/* Frees what was answered. */
void catalog_fact_fini(struct catalog_fact *f);
/* Fills the facts. Blocks on the disk: a work pool thread, never a loop. max_bytes bounds children and proofs of the
 * whole batch. */
void catalog_lookup(struct catalog *c, struct catalog_fact *facts, size_t n, size_t max_bytes);

/* Writes to out at most max digests that are known to be held, in order, after *after (NULL: from the first). Returns
 * their number. Blocks on the disk. */
size_t catalog_held_after(struct catalog *c, const struct digest *after, struct digest *out, size_t max);

/* Every tag, as (repository, tag, record), in order. Blocks on the disk. 0, ERR_CORRUPT or ERR_INTERNAL: some were left
 * out. */
int catalog_each_tag(struct catalog *c,
                     void (*fn)(const char *repo, const char *tag, const struct tag_facts *t, void *arg),
                     void *arg) must_check;

/* catalog_lookup from a loop: set all but the last, submit, and done is called on the loop. The facts stay the
 * asker's. */
struct catalog_query {
    struct catalog *catalog;
    struct catalog_fact *facts;
    size_t n, max_bytes;
    uint64_t whose; /* as in struct work */
    struct loop *loop;
    void (*done)(struct catalog_query *q);
    struct offload offload; /* catalog_query.c's own */
};
void catalog_query_submit(struct catalog_query *q, struct workpool *pool);

/* For metrics: any thread. */
struct catalog_stats {
    int64_t learned, dropped, failed, lookups;
    int64_t bytes, limit; /* of the file, without its write-ahead log; limit 0: none */
    int64_t pruned;       /* blobs and tags removed to make room */
};
void catalog_stats(struct catalog *c, struct catalog_stats *out);

#endif
