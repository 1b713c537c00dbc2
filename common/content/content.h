/* The one place where a node learns of content: blobs with their piece proofs, manifests, tags. Fills, checks of tags,
 * `load`, and the comparison of store and catalogue after a start all call it. They need not know who listens, and
 * listeners need not know where content comes from.
 *
 * The order is fixed. Each step begins when the one before it is complete:
 *   1. the durable record stores it, if it is hosted and so has no other source. If the record refuses, it ends here;
 *   2. the store is told what is hosted and where the tag points;
 *   3. the listeners are called, in the order in which they were added;
 *   4. the call returns. Only then may the caller show it to a reader or client.
 *
 * The bytes themselves go into the store by store/store.h and store/part.h. Hosted bytes are in it before step 1. Fetched bytes
 * follow after step 4, because they can be fetched again and so nobody needs to wait for the disk. Listeners are also
 * told when the store gets or loses bytes.
 *
 * Thread: any, unless a function says otherwise. */
#ifndef ENTREPOT_CONTENT_CONTENT_H
#define ENTREPOT_CONTENT_CONTENT_H

#include "common/oci/manifest.h"
#include "common/oci/name.h"
#include "common/store/tag.h"

struct content;

/* All pointers in the structs below are borrowed for the call. */

/* A blob whose bytes were all here and matched its digest. */
struct content_blob {
    struct digest digest;
    int64_t size;
    const uint8_t *proofs; /* for all pieces but the last (core/digest.h); NULL: not known */
    size_t n_proofs;
    const char *media_type;     /* of a manifest; NULL for other blobs */
    const struct manifest *doc; /* the parsed manifest; NULL: it could not be parsed, or this is no manifest */
};
/* What is learned in one call. */
struct content_news {
    const struct repo_name *repo; /* the repository; NULL: not known, and then there is no tag */
    const struct content_blob *blobs;
    size_t n_blobs;
    const char *tag;               /* of repo; NULL: none */
    const struct tag_facts *facts; /* of the tag */
    bool stored;                   /* the store knows all of it already, so step 2 is skipped */
};

/* Is told of everything that is learned. It cannot refuse, and must not delay others. Each function may be NULL. It is
 * called with a lock held, so it must not block or call this module. */
struct content_listener {
    void (*learned)(const struct content_news *n, void *arg);
    /* Index writer. The store now holds the blob, or no longer holds it. */
    void (*held)(const struct digest *d, bool held, void *arg);
    void *arg;
};
/* Records hosted content, safe from a power cut when it returns 0. Else nothing is recorded and *err says why. May
 * block on the disk. */
struct content_record {
    int (*add)(const struct content_news *n, struct error *err, void *arg);
    void *arg;
};

/* Control thread. */
struct content *content_new(void);
void content_free(struct content *c);
/* Control thread, before anything is learned. The store is borrowed. */
void content_set_store(struct content *c, struct store *s);
/* Control thread. Sets the record of hosted content; NULL: none from now on. */
void content_set_record(struct content *c, const struct content_record *r);
/* Control thread. The listener is copied and identified by its arg. After content_leave has returned it is not called
 * again. */
void content_listen(struct content *c, const struct content_listener *l);
void content_leave(struct content *c, const void *arg);

/* Learns of content that has another source. */
void content_learn(struct content *c, const struct content_news *n);
/* Learns of content that its owner has put here and whose bytes are in the store. May block on the disk. On failure
 * nothing is hosted. */
int content_host(struct content *c, const struct content_news *n, struct error *err) must_check;
/* Call from the store's on_change. */
void content_held(struct content *c, const struct digest *d, bool held);

#endif
