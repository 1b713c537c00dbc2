/* The record of what central hosts: hosted.db in the data folder. It is synced before anyone is told that an image is
 * loaded. Hosted content has no other source, so only its owner's acts remove anything from the record; eviction,
 * doubts about a blob, missing files and a damaged index do not. Blobs whose bytes are missing are "to be restored"
 * (hosted_restore.h).
 *
 * Digests and tags are in memory as well, so that the store can ask at any time (hosted_guard). Thread: any that may
 * block on the disk, unless a function says otherwise. */
#ifndef ENTREPOT_WAREHOUSE_HOSTED_H
#define ENTREPOT_WAREHOUSE_HOSTED_H

#include "common/oci/manifest.h"
#include "common/oci/name.h"
#include "common/oci/tag_facts.h"
#include "common/store/store.h"

struct hosted;

/* For store_config: the record is opened and closed with the store. hosted_of returns the record of an open store. */
extern const struct store_guard hosted_guard;
struct hosted *hosted_of(const struct store *s);

/* --- what is in it --- */

/* A hosted blob. size is -1 if it was taken over from an older record while its bytes were missing. */
struct hosted_blob {
    struct digest digest;
    int64_t size;
    char media_type[MEDIA_TYPE_MAX + 1]; /* of a manifest; "" for other blobs */
    struct digest *children;             /* of a manifest; malloc'ed */
    size_t n_children;
};
void hosted_blob_fini(struct hosted_blob *b);

/* Any thread, does not wait for a disk. True if d is hosted. size may be NULL. */
bool hosted_knows(struct hosted *h, const struct digest *d, int64_t *size);
/* Reads one blob. repo "": in any repository. ERR_NOT_FOUND: it is not hosted there. *repos: all repositories that have
 * it, an array of strings ended by NULL; the caller frees it with hosted_repos_free. */
int hosted_find(struct hosted *h, const char *repo, const struct digest *d, struct hosted_blob *out, char ***repos,
                struct error *err) must_check;
void hosted_repos_free(char **repos);
/* Calls fn for every tag. fn must not call the record. */
int hosted_each_tag(struct hosted *h,
                    void (*fn)(const char *repo, const char *tag, const struct tag_facts *t, void *arg), void *arg,
                    struct error *err) must_check;
bool hosted_has_tag(struct hosted *h, const char *repo, const char *tag);
/* Any thread, does not wait for a disk. Calls fn for every blob. fn must not call the record. */
void hosted_each_blob(struct hosted *h, void (*fn)(const struct digest *d, int64_t size, void *arg), void *arg);

/* Calls fn for every blob in every repository that has it, those of one digest in a row (repo NULL: in no known
 * repository). One scan. fn must not call the record. */
int hosted_each_place(struct hosted *h,
                      void (*fn)(const struct digest *d, int64_t size, bool manifest, const char *repo, void *arg),
                      void *arg, struct error *err) must_check;

struct hosted_counts {
    int64_t tags, blobs, bytes;
};
void hosted_count(struct hosted *h, struct hosted_counts *out);

/* --- changing it --- */

/* Announces a blob of an image that is being loaded: the store keeps it until hosted_release, however the load ends.
 * Calls are counted. */
void hosted_hold(struct hosted *h, const struct digest *d);
void hosted_release(struct hosted *h, const struct digest *d);
/* Adds blobs to a repository ("": to no known one) and sets its tag (NULL: none), all or nothing. When it returns 0,
 * all is safe from a power cut. Else nothing has changed, and err says why. */
int hosted_add(struct hosted *h, const char *repo, const struct hosted_blob *blobs, size_t n, const char *tag,
               const struct tag_facts *t, struct error *err) must_check;
/* Between these two calls, additions by this thread are synced together at the end. Nobody else may add meanwhile. If
 * hosted_batch_end fails, they are in memory only. */
int hosted_batch_begin(struct hosted *h, struct error *err) must_check;
int hosted_batch_end(struct hosted *h, struct error *err) must_check;

/* --- is the record complete? --- */

/* The record is new, or was damaged or lost: what index and catalogue know must be taken over (takeover.h). Until
 * hosted_complete is called, nothing is evicted. */
bool hosted_takeover_due(const struct hosted *h);
/* Why the record itself may be incomplete ("damaged: …", "lost"); NULL: it is not. */
const char *hosted_was_lost(const struct hosted *h);
/* Ends the takeover. doubt: why more may have been hosted than was found, or NULL. A doubt is written to the file
 * hosted.incomplete in the data folder, and nothing is evicted until an operator removes that file. */
int hosted_complete(struct hosted *h, const char *doubt, struct error *err) must_check;
/* Writes such a doubt to that file. */
int hosted_doubt(struct hosted *h, const char *doubt, struct error *err) must_check;
#define HOSTED_NOTICE "hosted.incomplete"
/* Any thread. True if that file exists. The folder is read only while the file is known to exist. */
bool hosted_is_doubtful(struct hosted *h);

#endif
