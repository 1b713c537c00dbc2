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
#include "common/core/workpool.h"

struct store;

struct store_config {
    const char *dir; /* created if missing, mode 0700 */
    /* Bytes of blobs, part files and quarantine together; 0: whatever the file system has, less min_free. */
    int64_t limit;
    int64_t min_free;      /* leave this much of the file system free; 0: none */
    size_t scopes_max;     /* names of scopes at a time; 0: a million */
    struct workpool *pool; /* borrowed: sync, deletion, reconciliation */
    /* Any may be NULL. held: became available; else lost (evicted, deleted, found missing or corrupt). */
    void (*on_change)(const struct digest *d, bool held, void *arg);
    void *arg;
    /* Tells whether the bytes are a manifest: 0, its media type and its children (malloc'd, freed by the store), else
     * negative. NULL: adopted files are opaque. Injected, because the store knows no manifests; called in the work pool
     * for adopted files of at most 8 MiB that begin like JSON. */
    int (*inspect)(const void *data, size_t len, char media_type[256], struct digest **children, size_t *n);
};

/* Control thread. Takes the folder's lock (a second daemon gets an error that says so), opens or creates the index (a
 * damaged one is put aside and rebuilt from the folder), loads the table, and starts reconciling index and folder in
 * the work pool: rows without a file go, files without a row are adopted (their size from stat, their digest from their
 * name, small ones shown to cfg->inspect), stray temporary files go; nothing is hashed. An adopted blob is in no scope
 * until store_add_scope, unless a damaged index still tells: store_lookup_in fails, store_lookup does not. */
int store_open(struct store **out, const struct store_config *cfg, struct error *err) must_check;
/* All users gone. Writes what is queued, closes. */
void store_close(struct store *s);
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
/* Any thread: reads a whole held blob of at most limit bytes into memory the caller frees. */
int store_read_blob(struct store *s, const struct digest *d, size_t limit, char **data, size_t *len,
                    struct blob_info *info) must_check;

/* Any thread: adds the scope to a held blob, in memory at once, on disk soon. Nothing happens if it is not held. */
void store_add_scope(struct store *s, const struct digest *d, uint32_t scope);
void store_set_pinned(struct store *s, const struct digest *d, bool pinned);
/* Blocks: what was said of blobs, scopes and tags before is on the disk, safe from a power cut. What nobody syncs is
 * synced every half a minute. 0, or what the disk said. */
int store_sync(struct store *s) must_check;
/* The index was made anew, by this process or one before it, and nobody has said since which of the files are hosted:
 * no blob is evicted until store_recall_done. Any thread. */
bool store_recall_due(const struct store *s);
/* Blocks: all that was hosted has been said by store_adopt and store_tag_set. Nothing happens if it was not due. */
void store_recall_done(struct store *s);
/* Any thread, queued: forgets and unlinks. */
void store_delete(struct store *s, const struct digest *d);

/* --- part files: one writer each (the fill); thread: one at a time --- */
struct part;
/* Opens or continues the part file of d. *have: bytes from the start that may be trusted to be contiguous (not yet to
 * be right), up to the first hole. ERR_BUSY if that digest has an open part already, ERR_NO_SPACE, -errno. */
int part_open(struct store *s, const struct digest *d, struct part **out, int64_t *have, struct error *err) must_check;
/* One that nobody continues: it is gone when it is discarded, or with the process. */
int part_new_temp(struct store *s, const struct digest *d, struct part **out, struct error *err) must_check;
/* Has d a part file already? Any thread. */
bool part_exists(struct store *s, const struct digest *d);
/* The file, for reading what has been written (reference given to the caller). */
struct open_file *part_file(struct part *p);
/* It will be `size` bytes long, as far as is known now, and is written on from `from`: room is taken on the disk ahead
 * of the writes, where there is plenty. */
void part_expect(struct part *p, int64_t from, int64_t size);
/* Writes at an offset (pwrite until done). ERR_NO_SPACE: the disk is full or the limit is reached and nothing more
 * could be evicted; -errno otherwise. Accounts the space and wakes eviction early enough that a fill seldom waits for
 * it. May block on disk: fetch loop or work pool. */
int part_write(struct part *p, int64_t offset, const void *data, size_t len) must_check;
int part_truncate(struct part *p, int64_t len) must_check;
/* Closes, keeping the bytes, if there are any, for later. */
void part_close(struct part *p);
/* Closes and removes. */
void part_discard(struct part *p);

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
    unsigned uses; /* by others than the one it was got for: it comes in used so often */
};
/* The bytes are all there and proved by the caller. Syncs in the work pool, renames, adds the row and the table entry,
 * closes p (p must not be used after the call; references from part_file stay good). done(code, arg) runs on the work
 * pool or index writer: 0 once lookups find the blob; on failure (ERR_NO_SPACE, -EIO) the part is kept unless it cannot
 * be. ERR_NOT_FOUND: it was deleted or evicted again at the same moment. */
void part_commit(struct part *p, const struct commit_info *info, void (*done)(int code, void *arg), void *arg);
/* A small whole blob from memory (manifests, imports): checked against d here, written, synced, committed as above. Any
 * thread that may block. */
int store_put(struct store *s, const struct digest *d, const void *data, size_t len, const struct commit_info *info,
              struct error *err) must_check;
/* Any thread that may block: what is known of a blob whose file is in the folder is added to what the index says, and
 * it is held; info's size is not looked at. 0, ERR_NOT_FOUND: there is no such file; or what the index said. */
int store_adopt(struct store *s, const struct digest *d, const struct commit_info *info) must_check;

/* --- tags: (canonical repository, tag) -> digest. In memory and in the index. Any thread. --- */
struct tag_record {
    struct digest digest;
    int64_t checked_at; /* wall seconds of the last check at its source */
    int64_t size;       /* of the manifest, -1 unknown */
    char media_type[256];
    bool deleted; /* its source has said it is gone; still served while held */
};
bool store_tag_get(const struct store *s, const char *repo, const char *tag, struct tag_record *out);
/* In memory at once, on disk soon (batched). */
void store_tag_set(struct store *s, const char *repo, const char *tag, const struct tag_record *rec);
void store_tag_forget(struct store *s, const char *repo, const char *tag);
/* Tags of one repository in ASCII order, after `last` ("" : from the start), at most max. Names are copied to out
 * (caller frees each and the array). */
size_t store_tags(const struct store *s, const char *repo, const char *last, size_t max, char ***out);

/* --- for people: blocking reads through a connection of their own. Work pool or control thread. --- */
struct store_usage {
    int64_t blobs, bytes; /* committed */
    int64_t manifests, tags;
    int64_t parts, part_bytes; /* in flight or waiting to be continued */
    int64_t quarantined, quarantine_bytes;
    int64_t limit; /* in force: configured, or what the file system allows; 0: nothing can be kept */
    int64_t disk_free, disk_total;
    int64_t evictions, evicted_bytes; /* since start */
};
/* Any thread, cheap. */
void store_usage(const struct store *s, struct store_usage *out);
/* Repositories (repo "" ) in ASCII order with their number of tags, manifests and bytes of manifests; */
int store_each_repo(struct store *s,
                    bool (*fn)(const char *repo, int64_t tags, int64_t manifests, int64_t bytes, void *arg), void *arg,
                    struct error *err) must_check;
/* Tags of one repository, with whether the manifest and all its children are held. */
int store_each_tag(struct store *s, const char *repo,
                   bool (*fn)(const char *tag, const struct tag_record *rec, bool complete, void *arg), void *arg,
                   struct error *err) must_check;
/* Manifests of one repository that refer to `child`, in the order of their digests. */
int store_each_parent(struct store *s, const char *repo, const struct digest *child,
                      bool (*fn)(const struct digest *parent, void *arg), void *arg, struct error *err) must_check;
/* Every held blob; fn may not call the store. */
int store_each_blob(struct store *s,
                    bool (*fn)(const struct digest *d, const struct blob_info *info, int64_t used_at, void *arg),
                    void *arg, struct error *err) must_check;

#define VERIFY_NAMED_MAX 64
struct verify_report {
    int64_t checked, bytes, bad, missing, adopted;
    struct digest named[VERIFY_NAMED_MAX]; /* the first of the bad ones */
};
/* Reads every blob and checks its digest; bad ones are moved out of blobs/ to quarantine/, which keeps the newest
 * sixteen and 1 GiB, and forgotten. progress may be NULL; return false from it to stop. Work pool or a command without
 * a daemon. */
int store_verify(struct store *s, bool (*progress)(const struct verify_report *so_far, int64_t total_bytes, void *arg),
                 void *arg, struct verify_report *out, struct error *err) must_check;
/* Work pool: reads one held blob again. 0: it is right. ERR_MISMATCH: it was wrong or cannot be read, and is held no
 * more: what is hosted goes to quarantine/, the rest goes, for it can be had again. ERR_NOT_FOUND, ERR_CANCELLED (the
 * process is about to stop), -errno: nothing was found out. */
int store_recheck(struct store *s, const struct digest *d) must_check;
/* Throws the index away and makes it again from the folder (sizes, and children and media types by reading the small
 * blobs that parse as manifests). Without a daemon. inspect: as in store_config. The old index stays beside it as
 * index.db.old; tags, scopes and what is pinned or hosted are carried over as far as it can still be read. */
int store_rebuild(const char *dir,
                  int (*inspect)(const void *data, size_t len, char media_type[256], struct digest **children,
                                 size_t *n),
                  struct verify_report *out, struct error *err) must_check;
/* Any thread, when the process is about to stop: eviction in bulk and store_prune end soon. */
void store_stop_bulk(struct store *s);
/* Evicts until at most `target` bytes are held (0 = everything not pinned, hosted or in use). Work pool. Returns bytes
 * freed. */
int64_t store_prune(struct store *s, int64_t target);

#endif
