/* Reports on a store and work on its space: how full it is, what it holds, whether it is right, and eviction on
 * request. Reads that block use a connection of their own. Thread: work pool, or a command, unless a function says
 * otherwise. */
#ifndef ENTREPOT_STORE_REPORT_H
#define ENTREPOT_STORE_REPORT_H

#include "common/store/tag.h"

struct store_usage {
    int64_t blobs, bytes; /* committed; bytes of content */
    int64_t on_disk;      /* what these blobs take of the disk: whole blocks */
    int64_t manifests, tags;
    int64_t parts, part_bytes; /* being fetched, or waiting to be continued; bytes of content */
    int64_t parts_on_disk;
    int64_t quarantined, quarantine_bytes, quarantine_on_disk;
    int64_t rotten;        /* since start: held blobs whose bytes turned out wrong, in quarantine or not */
    int64_t index_on_disk; /* the index, and the folders that blobs stand in */
    int64_t used_on_disk;  /* all of it: what the limit bounds */
    int64_t limit; /* the current limit: the configured one, or what the file system allows; 0: nothing can be kept */
    int64_t disk_free, disk_total;
    int64_t evictions, evicted_bytes; /* since start */
};
/* Any thread, cheap. */
void store_usage(const struct store *s, struct store_usage *out);
/* fn for every held blob, in no order. One that comes or goes meanwhile may be left out. Any thread. */
void store_each(const struct store *s, void (*fn)(const struct digest *d, void *arg), void *arg);
/* Counts what is in quarantine now, because people take files out of it. Any thread that may block. */
void store_quarantine_look(struct store *s);
/* All repositories in ASCII order, with the number of their tags and manifests and the bytes of the manifests. */
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
    /* Of the bad blobs: moved to quarantine; not moved (they are not served, but the next start finds them again);
     * unreadable. */
    int64_t moved, not_moved, unreadable;
    char why_not_moved[96], why_unreadable[96]; /* of the last one */
    struct digest named[VERIFY_NAMED_MAX];      /* the first of the bad ones */
};
/* Work pool, or a command without a daemon. Reads every blob and checks its digest. Bad blobs are dropped and moved to
 * quarantine/, which keeps the newest sixteen and 1 GiB. A blob that must stay is read three times before it counts as
 * bad. progress may be NULL; it returns false to stop. */
int store_verify(struct store *s, bool (*progress)(const struct verify_report *so_far, int64_t total_bytes, void *arg),
                 void *arg, struct verify_report *out, struct error *err) must_check;
/* Work pool. Reads one held blob again. 0: it is right. ERR_MISMATCH: it is not held any more. A blob that must stay
 * goes to quarantine/, and only if three readings of the disk were wrong. Any other goes if it is wrong or unreadable,
 * because it can be fetched again. ERR_NOT_FOUND, ERR_CANCELLED (the process stops), -errno: nothing was found out. */
int store_recheck(struct store *s, const struct digest *d) must_check;
/* Any thread that may block. Reads the file under blobs/ for d, held or not. 0: it has this size (-1: any) and digest.
 * ERR_MISMATCH: three readings were wrong, and it was moved to quarantine/. Else as store_recheck. */
int store_check_file(struct store *s, const struct digest *d, int64_t size) must_check;
/* Without a daemon. Makes a new index from the folder (sizes; children and media types by reading the small blobs that
 * parse as manifests). inspect: as in store_config. The old index stays beside it as index.db.old. Tags, scopes and
 * what is hosted are carried over as far as the old index can be read. */
int store_rebuild(const char *dir,
                  int (*inspect)(const void *data, size_t len, char media_type[256], struct digest **children,
                                 size_t *n),
                  struct verify_report *out, struct error *err) must_check;
/* Files that could not be removed are still held and are not counted here. freed: bytes of the disk. */
struct prune_report {
    int64_t freed, not_removed;
    char why[96]; /* why the last of them was not removed */
};
/* Evicts until blobs and part files take at most `target` bytes of the disk (0 = everything not hosted or in
 * use). Work pool. */
void store_prune(struct store *s, int64_t target, struct prune_report *out);
/* Without a daemon. Checks whether the folder's owner (root checks in its place) can use all of it. Makes only a small
 * file, for a moment. 0, or the reason. */
int store_check_folder(const char *dir, struct error *err) must_check;
/* Any thread that may block. True if the store can keep or remove nothing; *err says why and what to do. Makes a small
 * file to find out, at most once a second, and knows the disk's failures of the last ten minutes. */
bool store_trouble(struct store *s, struct error *err);

#endif
