/* Turns the news of content/content.h into facts of the catalogue. Thread: any. */
#include "central/catalog/catalog.h"

static void learned(const struct content_news *n, void *arg) {
    struct catalog *c = arg;
    /* Not held yet: news of fetched bytes comes before they are stored, and passed-through bytes never are. */
    bool here = n->stored || (n->repo && n->repo->upstream[0] == '\0');
    for (size_t i = 0; i < n->n_blobs; i++) {
        const struct content_blob *b = &n->blobs[i];
        catalog_learn_blob(c, &b->digest, b->size, here, b->proofs, b->n_proofs * digest_len(b->digest.alg));
        if (b->doc) catalog_learn_manifest(c, &b->digest, b->media_type, b->size, b->doc);
    }
    if (n->tag) catalog_learn_tag(c, n->repo, n->tag, n->facts);
}

static void held(const struct digest *d, bool is_held, void *arg) {
    if (is_held)
        catalog_blob_held(arg, d);
    else
        catalog_blob_lost(arg, d);
}

struct content_listener catalog_listener(struct catalog *c) {
    return (struct content_listener){.learned = learned, .held = held, .arg = c};
}
