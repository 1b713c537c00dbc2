/* Converts an image from content.h's form to the record's. Thread: see hosted_record.h. */
#include "central/warehouse/hosted_record.h"

#include "common/core/alloc.h"

#include <stdio.h>

static void describe(struct hosted_blob *out, const struct content_blob *b) {
    *out = (struct hosted_blob){.digest = b->digest, .size = b->size};
    if (b->media_type) snprintf(out->media_type, sizeof(out->media_type), "%s", b->media_type);
    if (!b->doc) return;
    out->children = xcalloc(b->doc->n_children + 1, sizeof(*out->children));
    out->n_children = b->doc->n_children;
    for (size_t i = 0; i < b->doc->n_children; i++)
        out->children[i] = b->doc->children[i].digest;
}

static int add(const struct content_news *n, struct error *err, void *arg) {
    char repo[REPO_STR_MAX];
    struct hosted_blob *blobs = xcalloc(n->n_blobs + 1, sizeof(*blobs));
    for (size_t i = 0; i < n->n_blobs; i++)
        describe(&blobs[i], &n->blobs[i]);
    int r = hosted_add(arg, repo_name_str(n->repo, repo), blobs, n->n_blobs, n->tag, n->facts, err);
    for (size_t i = 0; i < n->n_blobs; i++)
        hosted_blob_fini(&blobs[i]);
    free(blobs);
    return r;
}

struct content_record hosted_record(struct hosted *h) {
    return (struct content_record){.add = add, .arg = h};
}
