/* What a person asks a store: how full it is, what it holds, whether that is right, and to make room. Blocking reads go
 * through a connection of their own. Thread: work pool, or a command, unless said otherwise. */
#ifndef ENTREPOT_STORE_REPORT_H
#define ENTREPOT_STORE_REPORT_H

#include "common/store/tag.h"

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
/* Repositories of which a manifest is held, or a tag must stay, in ASCII order: the tags that are such, its manifests
 * held, and the bytes of all of its blobs that are held, each once. */
int store_each_held_repo(struct store *s,
                         bool (*fn)(const char *repo, int64_t tags, int64_t manifests, int64_t bytes, void *arg),
                         void *arg, struct error *err) must_check;
/* The tag's manifest is held, or the guard keeps the tag whatever is held. Any thread. */
bool store_tag_is_held(const struct store *s, const char *repo, const char *tag, const struct digest *d);
/* When a held blob was last used, wall seconds; 0: it is not held. Any thread. */
int64_t store_used_at(const struct store *s, const struct digest *d);
/* Reads a held blob of at most limit bytes, as store_read_blob does, but that is no use of it. */
int store_peek_blob(struct store *s, const struct digest *d, size_t limit, char **data, size_t *len) must_check;
/* Tags of one repository, with whether the manifest and all its children are held. */
int store_each_tag(struct store *s, const char *repo,
                   bool (*fn)(const char *tag, const struct tag_facts *rec, bool complete, void *arg), void *arg,
                   struct error *err) must_check;
/* Manifests of one repository that refer to `child`, in the order of their digests. */
int store_each_parent(struct store *s, const char *repo, const struct digest *child,
                      bool (*fn)(const struct digest *parent, void *arg), void *arg, struct error *err) must_check;
/* The names of the scopes a held blob is in, in no order. Any thread. */
void store_each_scope(struct store *s, const struct digest *d, void (*fn)(const char *scope, void *arg), void *arg);
/* Every held blob; fn may not call the store. */
int store_each_blob(struct store *s,
                    bool (*fn)(const struct digest *d, const struct blob_info *info, int64_t used_at, void *arg),
                    void *arg, struct error *err) must_check;

#define VERIFY_NAMED_MAX 64
struct verify_report {
    int64_t checked, bytes, bad, missing, adopted;
    /* Of the bad: moved to quarantine; could not be (they are served no more, but a start will find them again); could
     * not be read at all. */
    int64_t moved, not_moved, unreadable;
    char why_not_moved[96], why_unreadable[96]; /* of the last one */
    struct digest named[VERIFY_NAMED_MAX];      /* the first of the bad ones */
};
/* Reads every blob and checks its digest; bad ones are moved out of blobs/ to quarantine/, which keeps the newest
 * sixteen and 1 GiB, and forgotten. What must stay is read three times before its bytes count as bad. progress may be
 * NULL; return false from it to stop. Work pool or a command without a daemon. */
int store_verify(struct store *s, bool (*progress)(const struct verify_report *so_far, int64_t total_bytes, void *arg),
                 void *arg, struct verify_report *out, struct error *err) must_check;
/* Work pool: reads one held blob again. 0: it is right. ERR_MISMATCH: it is held no more. What must stay goes to
 * quarantine/, and only if three readings of the disk found it wrong; the rest goes if it is wrong or cannot be read,
 * for it can be had again. ERR_NOT_FOUND, ERR_CANCELLED (the process is about to stop), -errno: nothing was found out.
 */
int store_recheck(struct store *s, const struct digest *d) must_check;
/* Any thread that may block: reads the file that stands under blobs/ for d, held or not. 0: it has that size (-1: any)
 * and that digest. ERR_MISMATCH: it has not, by three readings, and was moved to quarantine/. Else as store_recheck. */
int store_check_file(struct store *s, const struct digest *d, int64_t size) must_check;
/* Throws the index away and makes it again from the folder (sizes, and children and media types by reading the small
 * blobs that parse as manifests). Without a daemon. inspect: as in store_config. The old index stays beside it as
 * index.db.old; tags, scopes and what is pinned or hosted are carried over as far as it can still be read. */
int store_rebuild(const char *dir,
                  int (*inspect)(const void *data, size_t len, char media_type[256], struct digest **children,
                                 size_t *n),
                  struct verify_report *out, struct error *err) must_check;
/* What could not be removed is held still, and is not among the bytes. */
struct prune_report {
    int64_t freed, not_removed;
    char why[96]; /* of the last that was not removed */
};
/* Evicts until at most `target` bytes are held (0 = everything not pinned, hosted or in use). Work pool. */
void store_prune_report(struct store *s, int64_t target, struct prune_report *out);
/* The same; the bytes freed. */
int64_t store_prune(struct store *s, int64_t target);
/* Without a daemon: could the folder's owner (root: asks in its place) use all of it? Makes nothing but a small file,
 * for a moment. 0, or why not. */
int store_check_folder(const char *dir, struct error *err) must_check;
/* Can nothing be kept, or nothing be removed? Makes a small file to see (at most once a second), and knows what the
 * disk has refused in the last ten minutes. True: *err says what and what to do. Any thread that may block. */
bool store_trouble(struct store *s, struct error *err);

#endif
