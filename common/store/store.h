/* Blobs on disk by digest, the index of what is held, tags, and what goes when space is short.
 * Layout under `dir` (design.md "Store"): blobs/<alg>/<2 hex>/<hex>, fills/<alg>-<hex>.part, index.db, lock.
 *
 * Threads: the index writer (one thread inside) owns SQLite's write connection; lookups read a shared in-memory table
 * without locks; each function says from where it may be called. Callbacks run on the index writer unless said
 * otherwise. */
#ifndef ENTREPOT_STORE_STORE_H
#define ENTREPOT_STORE_STORE_H

#include "common/core/digest.h"
#include "common/core/error.h"
#include "common/core/loop.h"
#include "common/core/open_file.h"
#include "common/core/proofs.h"
#include "common/core/workpool.h"

struct store;

/* The owner of content that has no other source says here what must stay, whatever the index says of it. state is the
 * owner's. Any thread but for open and close; none of these may call the store. */
struct store_guard {
    /* Control thread: the folder is locked, the index is not read yet. 0, or why the store must not be opened. */
    int (*open)(const char *dir, void **state, struct error *err);
    void (*close)(void *state);
    /* These bytes are not evicted, not deleted, and not dropped for a doubt that is not certain. */
    bool (*keeps)(const struct digest *d, void *state);
    /* store_tag_forget leaves this tag. */
    bool (*keeps_tag)(const char *repo, const char *tag, void *state);
    /* It is not known yet, or not for certain, what must stay: no blob is evicted. */
    bool (*keeps_all)(void *state);
};

struct store_config {
    const char *dir; /* created if missing, mode 0700 */
    /* Bytes of blobs, part files and quarantine together; 0: whatever the file system has, less min_free. */
    int64_t limit;
    int64_t min_free;      /* leave this much of the file system free; 0: none */
    size_t scopes_max;     /* names of scopes at a time; 0: a million */
    size_t tags_max;       /* tags at a time, but for held and hosted ones, which stay; 0: 200,000 */
    struct workpool *pool; /* borrowed: sync, deletion, reconciliation */
    /* Any may be NULL. held: became available; else lost (evicted, deleted, found missing or corrupt). */
    void (*on_change)(const struct digest *d, bool held, void *arg);
    void *arg;
    /* Tells whether the bytes are a manifest: 0, its media type and its children (malloc'd, freed by the store), else
     * negative. NULL: adopted files are opaque. Injected, because the store knows no manifests; called in the work pool
     * for adopted files of at most 8 MiB that begin like JSON. */
    int (*inspect)(const void *data, size_t len, char media_type[256], struct digest **children, size_t *n);
    const struct store_guard *guard; /* NULL: everything here can be had again from its source */
};

/* Control thread. Takes the folder's lock (a second daemon gets an error that says so), opens or creates the index (a
 * damaged one is put aside and rebuilt from the folder), loads the table, and starts reconciling index and folder in
 * the work pool: rows without a file go, files without a row are adopted (their size from stat, their digest from their
 * name, small ones shown to cfg->inspect), stray temporary files go; nothing is hashed. An adopted blob is in no scope
 * until store_add_scope, unless a damaged index still tells: store_lookup_in fails, store_lookup does not. */
int store_open(struct store **out, const struct store_config *cfg, struct error *err) must_check;
/* All users gone. Writes what is queued, closes. */
void store_close(struct store *s);
/* What cfg.guard's open made; NULL without a guard. */
void *store_guard_state(const struct store *s);
/* This process had to make the index anew though there were blobs: it may know less than it did. */
bool store_index_is_new(const struct store *s);
/* Waits until reconciliation is over (tests, verify). */
void store_wait_reconciled(struct store *s);

/* --- scopes: in which repository a digest may be served (design.md: "served in a repository only if it is known to
 * refer to them"). A scope is a name: an upstream ("docker.io") where any repository will do, or a whole canonical
 * repository. --- */
/* A scope is made when something was found for it, never because somebody asked, and dropped some time after the last
 * blob in it is gone. 0 is never a scope: nothing is served by it. */
/* Any thread: the number of a scope, 0 if there is none of that name. */
uint32_t store_scope_find(struct store *s, const char *name);
/* Any thread: the same, made if new (persistent), for content that was found. ERR_BUSY: no more can be told apart
 * (scopes_max), so this one is not remembered. */
int store_scope(struct store *s, const char *name, uint32_t *id) must_check;
/* Any thread: what was found is to be found again when this has changed. */
uint64_t store_scope_epoch(const struct store *s);

/* --- the table. Any thread, lock-free. --- */
enum { BLOB_MANIFEST = 1, BLOB_PINNED = 2, BLOB_HOSTED = 4 };
struct blob_info {
    int64_t size;
    unsigned flags;
    const char *media_type; /* manifests: lives as long as the store; else NULL */
};
/* False if not held. Does not count as use. */
bool store_lookup(const struct store *s, const struct digest *d, struct blob_info *info);
/* What a look at a blob means for its stay. A client that fetches it by many ranges, or asks for its head before it
 * fetches it, uses it once: such a part counts only if the blob has rested for a minute. */
enum store_use { USE_PART, USE_WHOLE };
/* Held and allowed in that scope. */
bool store_lookup_in(const struct store *s, const struct digest *d, uint32_t scope, struct blob_info *info);
/* As store_lookup_in, and counts as a use. */
bool store_use_in(struct store *s, const struct digest *d, uint32_t scope, enum store_use use, struct blob_info *info);
/* Any thread: opens a held blob for reading (cached descriptors), counts as a use. ERR_NOT_FOUND if not held; if the
 * file turns out missing or of the wrong size the entry is dropped, and so is a cached descriptor. While the reference
 * lives the blob is not evicted. */
int store_open_blob(struct store *s, const struct digest *d, enum store_use use, struct open_file **out,
                    struct blob_info *info) must_check;
/* The same where nothing may wait for a disk: -EAGAIN when it would have to, or when the entry has to be dropped; then
 * store_open_blob from the work pool decides. */
int store_open_blob_now(struct store *s, const struct digest *d, enum store_use use, struct open_file **out,
                        struct blob_info *info) must_check;
/* Any thread that may block: the disk does not give back d's bytes (code: what it said) from that file (NULL: the one
 * that is there now). Logged; it is held no more, so that it is fetched again, unless it has no other source. False: it
 * is held still; true: it is not, or with another file since. */
bool store_unreadable(struct store *s, const struct digest *d, const struct open_file *file, int code);
/* Any thread: reads a whole held blob of at most limit bytes into memory the caller frees. */
int store_read_blob(struct store *s, const struct digest *d, size_t limit, char **data, size_t *len,
                    struct blob_info *info) must_check;

/* Any thread: adds the scope to a held blob, in memory at once, on disk soon. Nothing happens if it is not held. */
void store_add_scope(struct store *s, const struct digest *d, uint32_t scope);
void store_set_pinned(struct store *s, const struct digest *d, bool pinned);
/* The same for BLOB_HOSTED. false also tells that the guard does not keep it any more: it may be evicted again. */
void store_set_hosted(struct store *s, const struct digest *d, bool hosted);
/* Blocks: what was said of blobs, scopes and tags before is on the disk, safe from a power cut. What nobody syncs is
 * synced every half a minute. 0, or what the disk said. */
int store_sync(struct store *s) must_check;
/* The guard keeps everything at present: no blob is evicted. Any thread. */
bool store_eviction_held(const struct store *s);
/* Any thread, queued: forgets and unlinks, unless it must stay. */
void store_delete(struct store *s, const struct digest *d);

/* What is known of a finished blob. Everything is copied. */
struct commit_info {
    int64_t size;
    const char *media_type; /* manifests, else NULL */
    unsigned flags;         /* BLOB_* */
    const uint32_t *scopes;
    size_t n_scopes;
    const char *repository;        /* manifests: canonical name of the repository it was got for, for ls; else NULL */
    const struct digest *children; /* manifests */
    size_t n_children;
    unsigned uses;               /* by others than the one it was got for: it comes in used so often */
    struct piece_proofs *proofs; /* store_put adds those of its pieces, as it checks it; NULL: not wanted */
};
/* A small whole blob from memory (manifests, imports): checked against d here, written, synced, committed as above. Any
 * thread that may block. */
int store_put(struct store *s, const struct digest *d, const void *data, size_t len, const struct commit_info *info,
              struct error *err) must_check;
/* The same from a file, whose first info->size bytes are read and must be all there is: whoever else writes it
 * meanwhile makes this fail, and nothing more. Any thread that may block. */
int store_put_file(struct store *s, const struct digest *d, int fd, const struct commit_info *info,
                   struct error *err) must_check;
/* Any thread that may block: what is known of a blob whose file is in the folder is added to what the index says, and
 * it is held; info's size is not looked at. 0, ERR_NOT_FOUND: there is no such file; or what the index said. */
int store_adopt(struct store *s, const struct digest *d, const struct commit_info *info) must_check;

/* Any thread, when the process is about to stop: eviction in bulk and store_prune end soon. */
void store_stop_bulk(struct store *s);
#endif
