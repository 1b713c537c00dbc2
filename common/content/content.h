/* The one door for what a node learns of content: blobs with the proofs of their pieces, manifests, tags. Fills, checks
 * of tags, `load` and the comparison of store and catalogue after a start come through it. They need not know who wants
 * to know; listeners need not know where it comes from.
 *
 * The order is fixed, and a step begins when the one before it is over:
 *   1. the durable record takes it, if it is hosted and thus has no other source. It may refuse: then that is all;
 *   2. the store is told what is hosted and where the tag points;
 *   3. the listeners are told, in the order in which they began to listen;
 *   4. the call returns, and only then may the caller let a reader or client see it.
 * Bytes go into the store by store.h and part.h: before step 1 when they are hosted; after step 4 when they were
 * fetched, since they can be fetched again and so nobody waits for the disk. When the store has got or lost them the
 * listeners hear of that, too.
 *
 * Thread: any, unless said otherwise. */
#ifndef ENTREPOT_CONTENT_CONTENT_H
#define ENTREPOT_CONTENT_CONTENT_H

#include "common/oci/manifest.h"
#include "common/oci/name.h"
#include "common/store/tag.h"

struct content;

/* Everything that follows is borrowed for the call. */

/* A blob whose bytes were all here and matched its digest. */
struct content_blob {
    struct digest digest;
    int64_t size;
    const uint8_t *proofs; /* at the ends of all pieces but the last; NULL: not known */
    size_t n_proofs;
    const char *media_type;     /* manifests; NULL for other blobs */
    const struct manifest *doc; /* what the manifest says; NULL: it could not be read, or is no manifest */
};
/* What is learned at once. */
struct content_news {
    const struct repo_name *repo; /* it was learned of there; NULL: not known, and then there is no tag */
    const struct content_blob *blobs;
    size_t n_blobs;
    const char *tag;               /* of repo; NULL: none */
    const struct tag_facts *facts; /* of the tag */
    bool stored;                   /* the store knows all of it already: step 2 is not needed */
};

/* Nothing that is learned has to be kept by a listener: it cannot refuse, and does not hold others up. Each function
 * may be NULL, is called with a lock held, and may neither block nor call the door. */
struct content_listener {
    void (*learned)(const struct content_news *n, void *arg);
    /* Index writer: from now on the store holds the blob, or holds it no more. */
    void (*held)(const struct digest *d, bool held, void *arg);
    void *arg;
};
/* What is hosted, safe from a power cut when this returns 0; else nothing of it is recorded, and *err says why. May
 * block on the disk. */
struct content_record {
    int (*add)(const struct content_news *n, struct error *err, void *arg);
    void *arg;
};

/* Control thread. */
struct content *content_new(void);
void content_free(struct content *c);
/* Control thread, before anything is learned: the store is borrowed. */
void content_set_store(struct content *c, struct store *s);
/* Control thread: who records what is hosted; NULL: nobody any more. */
void content_set_record(struct content *c, const struct content_record *r);
/* Control thread. The listener is copied; it is told apart by its arg. When content_leave returns it is called no
 * more. */
void content_listen(struct content *c, const struct content_listener *l);
void content_leave(struct content *c, const void *arg);

/* What can be had again: it was fetched, or is known anew. */
void content_learn(struct content *c, const struct content_news *n);
/* What its owner has put here, bytes included. May block on the disk. */
int content_host(struct content *c, const struct content_news *n, struct error *err) must_check;
/* For the store's on_change. */
void content_held(struct content *c, const struct digest *d, bool held);

#endif
