/* What a manifest or index refers to. Content is opaque otherwise: any media type is accepted. Thread: any.
 * Implements image-spec manifest.md, image-index.md, descriptor.md; Docker schema 2. */
#ifndef ENTREPOT_OCI_MANIFEST_H
#define ENTREPOT_OCI_MANIFEST_H

#include "common/core/digest.h"
#include "common/core/error.h"

#define MANIFEST_MAX_BYTES (8 * 1024 * 1024) /* larger ones are refused: 413, or an upstream error */
#define MANIFEST_MAX_CHILDREN 20000
#define MEDIA_TYPE_MAX 255

extern const char MEDIA_OCI_MANIFEST[], MEDIA_OCI_INDEX[], MEDIA_DOCKER_MANIFEST[], MEDIA_DOCKER_LIST[];
/* "Accept: …" value that asks for all four and then anything. */
extern const char MANIFEST_ACCEPT[];

enum child_kind { CHILD_CONFIG, CHILD_LAYER, CHILD_MANIFEST, CHILD_SUBJECT };
struct manifest_child {
    struct digest digest;
    int64_t size; /* as promised by the descriptor; -1 if absent or absurd */
    enum child_kind kind;
    bool foreign;                       /* non-distributable: need not be present */
    char os[32], arch[32], variant[16]; /* of an index entry; "" if absent */
};
struct manifest {
    char media_type[MEDIA_TYPE_MAX + 1]; /* from the document, else guessed from its shape; "" if neither */
    char artifact_type[MEDIA_TYPE_MAX + 1];
    bool is_index;
    struct manifest_child *children;
    size_t n_children;
};

/* JSON depth, size and counts are bounded. ERR_INVALID: not JSON or not an object; ERR_TOO_BIG. Descriptors with
 * digests we do not know are left out. A document with no known references is a manifest with no children. m is freed
 * by manifest_fini in any case. */
int manifest_parse(struct manifest *m, const void *data, size_t len, struct error *err) must_check;
void manifest_fini(struct manifest *m);
/* manifest_parse and manifest_is_one together, for the price of one. */
int manifest_judge(struct manifest *m, const void *data, size_t len, bool *is_one) must_check;
/* It is a JSON object that says what it is: by a media type, a schema version or its shape. Pages, error documents and
 * halves of a manifest are none. */
bool manifest_is_one(const void *data, size_t len);
/* True for the four manifest media types (parameters ignored). */
bool media_is_manifest(const char *media_type);
/* Copies a Content-Type without its parameters; "" if it is not a plausible media type. */
void media_type_clean(const char *content_type, char out[MEDIA_TYPE_MAX + 1]);

#endif
