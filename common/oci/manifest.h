/* What a manifest or index refers to. The rest of its content is not interpreted, and any media type is accepted.
 * Implements image-spec manifest.md, image-index.md and descriptor.md, and Docker's schema 2. Pure. Thread: any. */
#ifndef ENTREPOT_OCI_MANIFEST_H
#define ENTREPOT_OCI_MANIFEST_H

#include "common/core/digest.h"
#include "common/core/error.h"

#define MANIFEST_MAX_BYTES (8 * 1024 * 1024) /* bytes; larger ones are refused */
#define MANIFEST_MAX_CHILDREN 20000
#define MEDIA_TYPE_MAX 255

extern const char MEDIA_OCI_MANIFEST[], MEDIA_OCI_INDEX[], MEDIA_DOCKER_MANIFEST[], MEDIA_DOCKER_LIST[];
/* The value of an Accept header that asks for these four types first, then for any. */
extern const char MANIFEST_ACCEPT[];

enum child_kind { CHILD_CONFIG, CHILD_LAYER, CHILD_MANIFEST, CHILD_SUBJECT };
struct manifest_child {
    struct digest digest;
    int64_t size; /* bytes, as the descriptor says; -1 if absent or out of range */
    enum child_kind kind;
    bool foreign;                       /* non-distributable: the registry need not have it */
    char os[32], arch[32], variant[16]; /* of an index entry; "" if absent */
};
struct manifest {
    char media_type[MEDIA_TYPE_MAX + 1]; /* from the document, else guessed from its shape; "" if neither */
    char artifact_type[MEDIA_TYPE_MAX + 1];
    bool is_index;
    struct manifest_child *children;
    size_t n_children;
};

/* Parses a manifest or index; depth, size and counts are bounded. ERR_INVALID: not JSON or not an object; ERR_TOO_BIG:
 * over a limit. Descriptors whose digest algorithm is not supported are left out. A document without references is a
 * manifest without children. The caller calls manifest_fini in any case. */
int manifest_parse(struct manifest *m, const void *data, size_t len, struct error *err) must_check;
void manifest_fini(struct manifest *m);
/* Parsing a larger document may take long (0.3 s at the limits) and waits for the budget JSON, so loops leave it to a
 * work pool, and no thread does it that has such a document open. */
#define MANIFEST_QUICK_BYTES (16 * 1024)
/* manifest_parse and manifest_is_one in one pass over the document. */
int manifest_judge(struct manifest *m, const void *data, size_t len, bool *is_one) must_check;
/* True for a JSON object with the members that make an image, an index, an artifact manifest or one of Docker's schema
 * 1. False for web pages, error documents, truncated manifests, and what has a media type or schema version alone. */
bool manifest_is_one(const void *data, size_t len);
/* True for the four manifest media types (parameters ignored). */
bool media_is_manifest(const char *media_type);
/* Copies a Content-Type without its parameters; "" if it is not a plausible media type. */
void media_type_clean(const char *content_type, char out[MEDIA_TYPE_MAX + 1]);

#endif
