/* What central hosts: the one durable record of it, hosted.db in the data folder, synced before anybody is told that an
 * image is in. Hosted content has no other source, so nothing but its owner takes it out of the record: no eviction, no
 * doubt, no missing file, no damaged index. Bytes that are not here are "to be restored" (restore.h).
 *
 * What is hosted is in memory as well, so that the store can ask at any time (hosted_guard). Thread: any that may block
 * on the disk, unless said otherwise. */
#ifndef ENTREPOT_WAREHOUSE_HOSTED_H
#define ENTREPOT_WAREHOUSE_HOSTED_H

#include "common/oci/manifest.h"
#include "common/oci/name.h"
#include "common/oci/tag_facts.h"
#include "common/store/store.h"

struct hosted;

/* For store_config: opens the record with the store, closes it with it. The record of an open store: hosted_of. */
extern const struct store_guard hosted_guard;
struct hosted *hosted_of(const struct store *s);

/* --- what is in it --- */

/* size -1: not known, since its bytes were missing when it was taken over from an older record. */
struct hosted_blob {
    struct digest digest;
    int64_t size;
    char media_type[MEDIA_TYPE_MAX + 1]; /* manifests; "" for other blobs */
    struct digest *children;             /* manifests: malloc'd */
    size_t n_children;
};
void hosted_blob_fini(struct hosted_blob *b);

/* Any thread, without waiting for a disk. size may be NULL. */
bool hosted_knows(struct hosted *h, const struct digest *d, int64_t *size);
/* repo "": whichever. ERR_NOT_FOUND: it is not hosted there. *repos: all that have it, an array of strings ended by
 * NULL, which the caller frees (hosted_repos_free). */
int hosted_find(struct hosted *h, const char *repo, const struct digest *d, struct hosted_blob *out, char ***repos,
                struct error *err) must_check;
void hosted_repos_free(char **repos);
/* fn may not call the record. */
int hosted_each_tag(struct hosted *h,
                    void (*fn)(const char *repo, const char *tag, const struct tag_facts *t, void *arg), void *arg,
                    struct error *err) must_check;
bool hosted_has_tag(struct hosted *h, const char *repo, const char *tag);
/* Any thread, without waiting for a disk; fn may not call the record. */
void hosted_each_blob(struct hosted *h, void (*fn)(const struct digest *d, int64_t size, void *arg), void *arg);

/* Every blob in every repository that has it (repo NULL: in none that is known), those of one digest in a row; in one
 * scan. fn may not call the record. */
int hosted_each_place(struct hosted *h,
                      void (*fn)(const struct digest *d, int64_t size, bool manifest, const char *repo, void *arg),
                      void *arg, struct error *err) must_check;

struct hosted_counts {
    int64_t tags, blobs, bytes;
};
void hosted_count(struct hosted *h, struct hosted_counts *out);

/* --- changing it --- */

/* A blob of an image on its way in: it stays in the store until hosted_forgo, whatever comes of the image. Counted. */
void hosted_expect(struct hosted *h, const struct digest *d);
void hosted_forgo(struct hosted *h, const struct digest *d);
/* Adds blobs to a repository ("": to none that is known), and its tag (NULL: none), all or nothing; safe from a power
 * cut when it returns 0. Else nothing has changed, and err says why. */
int hosted_add(struct hosted *h, const char *repo, const struct hosted_blob *blobs, size_t n, const char *tag,
               const struct tag_facts *t, struct error *err) must_check;
/* Between these two, additions by this thread become safe together, at the end; nobody else may add meanwhile. If the
 * end fails they are in memory only. */
int hosted_batch_begin(struct hosted *h, struct error *err) must_check;
int hosted_batch_end(struct hosted *h, struct error *err) must_check;

/* --- whether it can be relied on --- */

/* The record is new, or was damaged or lost: what index and catalogue know is to be taken over (takeover.h). Until
 * hosted_complete nothing is evicted. */
bool hosted_takeover_due(const struct hosted *h);
/* Why the record itself may have lost something ("damaged: …", "lost"); NULL: it has not. */
const char *hosted_was_lost(const struct hosted *h);
/* The takeover is over. doubt: why more may have been hosted than was found, NULL if it was not: it is written to the
 * file hosted.incomplete in the data folder, and nothing is evicted until somebody removes that. */
int hosted_complete(struct hosted *h, const char *doubt, struct error *err) must_check;
#define HOSTED_NOTICE "hosted.incomplete"
/* That file is there. Any thread; looks at the folder only while it is known to be. */
bool hosted_is_doubtful(struct hosted *h);

#endif
