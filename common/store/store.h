/* The store: blobs on disk by digest, the index of what is held, tags, and eviction when space is short. Layout under
 * `dir` (docs/architecture.md "The store"): blobs/<alg>/<2 hex>/<hex>, fills/<alg>-<hex>.part, index.db, lock.
 *
 * Threads: the index writer, a thread of the store, owns SQLite's write connection. Lookups read a shared table in
 * memory without locks. Each function says from which thread it may be called. Callbacks run on the index writer unless
 * they say otherwise. */
#ifndef ENTREPOT_STORE_STORE_H
#define ENTREPOT_STORE_STORE_H

#include "common/core/digest.h"
#include "common/core/error.h"
#include "common/core/loop.h"
#include "common/core/open_file.h"
#include "common/core/proofs.h"
#include "common/core/workpool.h"

struct store;

/* The owner of content without another source decides here what must stay, whatever the index says. state is the
 * owner's. Any thread, except open and close. None of these functions may call the store. */
struct store_guard {
    /* Control thread. The folder is locked, and the index has not been read yet. On failure the store is not opened. */
    int (*open)(const char *dir, void **state, struct error *err);
    void (*close)(void *state);
    /* True: the blob must not be evicted, deleted, or dropped because of a doubt that is not certain. */
    bool (*keeps)(const struct digest *d, void *state);
    /* True: store_tag_forget must leave this tag. */
    bool (*keeps_tag)(const char *repo, const char *tag, void *state);
    /* True: what must stay is not known, or not for certain, so nothing may be evicted. */
    bool (*keeps_all)(void *state);
};

struct store_config {
    const char *dir; /* created if missing, mode 0700 */
    /* What blobs, part files, quarantine and index may take of the disk together, in whole blocks; 0: whatever the file
     * system has, less min_free. */
    int64_t limit;
    int64_t min_free;      /* leave this much of the file system free; 0: none */
    size_t scopes_max;     /* how many scope names there may be; 0: a million */
    size_t tags_max;       /* how many tags there may be, besides held and hosted ones, which always stay; 0: 200,000 */
    struct workpool *pool; /* borrowed; for sync, deletion and reconciliation */
    /* Each may be NULL. held: the blob became available; else it was lost (evicted, deleted, found missing or
     * corrupt). */
    void (*on_change)(const struct digest *d, bool held, void *arg);
    void *arg;
    /* Decides whether bytes are a manifest. 0: they are, with media type and children (malloc'ed; the store frees
     * them). Negative: they are not. NULL: adopted files are not inspected. It is passed in because the store knows
     * nothing of manifests. Called in the work pool for adopted files of at most 8 MiB that begin like JSON. */
    int (*inspect)(const void *data, size_t len, char media_type[256], struct digest **children, size_t *n);
    const struct store_guard *guard; /* NULL: everything in the store has another source */
};

/* Control thread. Locks the folder (a second daemon gets an error that says so), opens or creates the index (a damaged
 * one is put aside and rebuilt from the folder), loads the table, and starts to reconcile index and folder in the work
 * pool: rows without a file are removed; files without a row are adopted (size by stat, digest by name; small ones are
 * shown to cfg->inspect); stray temporary files are removed. Nothing is hashed. An adopted blob is in no scope until
 * store_add_scope, unless the damaged index still says so: store_lookup_in fails, store_lookup succeeds. */
int store_open(struct store **out, const struct store_config *cfg, struct error *err) must_check;
/* Only when nobody uses the store any more. Writes what is queued, then closes. */
void store_close(struct store *s);
/* The state that cfg.guard's open made; NULL without a guard. */
void *store_guard_state(const struct store *s);
/* True if this process had to make a new index although there were blobs, so that information may be lost. */
bool store_index_is_new(const struct store *s);
/* Waits until reconciliation is over (tests, verify). */
void store_wait_reconciled(struct store *s);

/* --- scopes: in which repositories a blob may be served (docs/security.md "Scope"). A scope is a name: an upstream
 * ("docker.io") if all its repositories share it, or a whole canonical repository. --- */
/* A scope is made when content was found for it, never by a request alone. It is dropped some time after its last blob
 * is gone. 0 is never a scope: nothing is served by it. */
/* Any thread. The number of a scope; 0: there is none of that name. */
uint32_t store_scope_find(struct store *s, const char *name);
/* Any thread. The same, but makes the scope if it is new (on disk, too). Call it for content that was found. ERR_BUSY:
 * there are scopes_max scopes already. */
int store_scope(struct store *s, const char *name, uint32_t *id) must_check;
/* Any thread. When this value has changed, scope numbers must be looked up again. */
uint64_t store_scope_epoch(const struct store *s);

/* --- the table. Any thread, lock-free. --- */
enum { BLOB_MANIFEST = 1, BLOB_HOSTED = 4 };
struct blob_info {
    int64_t size;
    unsigned flags;
    const char *media_type; /* of a manifest, valid as long as the store; else NULL */
};
/* False if the blob is not held. Does not count as a use. */
bool store_lookup(const struct store *s, const struct digest *d, struct blob_info *info);
/* How an access counts for eviction. A client that fetches a blob by many ranges, or sends a HEAD before it fetches it,
 * uses it once: such a part counts only if the blob was not used for a minute. USE_LOOK: a part for which the file need
 * only be there, so that a cached descriptor is not looked at again. */
enum store_use { USE_LOOK, USE_PART, USE_WHOLE };
/* True if the blob is held and may be served in that scope. */
bool store_lookup_in(const struct store *s, const struct digest *d, uint32_t scope, struct blob_info *info);
/* Any thread. Opens a held blob for reading (descriptors are cached) and counts a use. ERR_NOT_FOUND: it is not held.
 * If the file is missing or has the wrong size, the blob is dropped, and so is a cached descriptor. While the reference
 * lives the blob is not evicted. */
int store_open_blob(struct store *s, const struct digest *d, enum store_use use, struct open_file **out,
                    struct blob_info *info) must_check;
/* The same without waiting for a disk. -EAGAIN: it would have to wait, or the blob would have to be dropped; then call
 * store_open_blob on a thread that may block. */
int store_open_blob_now(struct store *s, const struct digest *d, enum store_use use, struct open_file **out,
                        struct blob_info *info) must_check;
/* Any thread that may block. Call when the disk fails to return d's bytes from a file (NULL: the current one); code:
 * the negative errno. The failure is logged. The blob is dropped, so that it is fetched again, unless it has no other
 * source. False: it is still held. True: it is not, or has another file since. */
bool store_unreadable(struct store *s, const struct digest *d, const struct open_file *file, int code);
/* Any thread that may block. Reads a held blob of at most limit bytes into memory that the caller frees. */
int store_read_blob(struct store *s, const struct digest *d, size_t limit, char **data, size_t *len,
                    struct blob_info *info) must_check;

/* Any thread. Adds a scope to a held blob: in memory at once, on disk soon. Does nothing if the blob is not held. */
void store_add_scope(struct store *s, const struct digest *d, uint32_t scope);
/* Any thread. Sets or clears BLOB_HOSTED of a held blob: in memory at once, on disk soon. false also means that the
 * guard no longer keeps the blob, so that it may be evicted again. */
void store_set_hosted(struct store *s, const struct digest *d, bool hosted);
/* Blocks until all earlier changes of blobs, scopes and tags are on the disk, safe from a power cut. Without it they
 * are synced every half a minute. 0, or a negative enum err. */
int store_sync(struct store *s) must_check;
/* Any thread. True if the guard keeps everything at present, so that nothing is evicted. */
bool store_eviction_held(const struct store *s);

/* What is known of a finished blob. Everything is copied. */
struct commit_info {
    int64_t size;
    const char *media_type; /* of a manifest; else NULL */
    unsigned flags;         /* BLOB_* */
    const uint32_t *scopes;
    size_t n_scopes;
    const char *repository;        /* of a manifest: repository it was fetched for, for `ls`; else NULL */
    const struct digest *children; /* manifests */
    size_t n_children;
    unsigned uses;               /* uses by clients other than the first one */
    struct piece_proofs *proofs; /* store_put_file adds the proofs of its pieces while it hashes; NULL: not wanted */
    uint64_t whose;              /* the caller that the job of part_commit is for (workpool.h); 0: the node itself */
};
/* Any thread that may block. Stores a whole blob from a file, whose first info->size bytes must be all of it: checks it
 * against d, writes, syncs and commits it. If another program changes the file meanwhile, this fails and nothing else
 * happens. */
int store_put_file(struct store *s, const struct digest *d, int fd, const struct commit_info *info,
                   struct error *err) must_check;
/* Any thread that may block. Adds to the index what is known of a blob whose file is in the folder; it is held then.
 * info's size is not used. ERR_NOT_FOUND: there is no such file. Else an error of the index. */
int store_adopt(struct store *s, const struct digest *d, const struct commit_info *info) must_check;

/* Any thread, when the process is about to stop: bulk eviction, store_prune and store_put_file end soon, the last with
 * ERR_CANCELLED. */
void store_stop_bulk(struct store *s);
#endif
