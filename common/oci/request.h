/* Parses a request target under /v2/ (distribution-spec "Endpoints") into endpoint, repository and reference. Decodes
 * percent-encoding once, then matches strictly; no part of it is used as a file path. Pure. Thread: any. */
#ifndef ENTREPOT_OCI_REQUEST_H
#define ENTREPOT_OCI_REQUEST_H

#include "common/oci/name.h"

enum oci_endpoint {
    OCI_BASE,      /* /v2/ */
    OCI_BLOB,      /* /v2/<name>/blobs/<digest> */
    OCI_MANIFEST,  /* /v2/<name>/manifests/<reference> */
    OCI_TAGS,      /* /v2/<name>/tags/list */
    OCI_REFERRERS, /* /v2/<name>/referrers/<digest> */
    OCI_CATALOG,   /* /v2/_catalog */
    OCI_UPLOADS,   /* /v2/<name>/blobs/uploads/… */
};

struct oci_request {
    enum oci_endpoint endpoint;
    char path[REPO_STR_MAX]; /* the repository as in the URL, host included; decoded and checked */
    struct reference ref;    /* blob, manifest, referrers */
    bool has_ns;
    char ns[HOST_MAX + 1];
    int64_t n; /* ?n=, -1 when absent */
    bool has_last;
    char last[REPO_STR_MAX];
    char artifact_type[256]; /* "" when absent */
};

/* The answer to a refused request. */
struct oci_refusal {
    int status;       /* 400, 404, 405 */
    const char *code; /* registry error code, static */
    char msg[256];
};

/* True if a request target belongs to the registry API: /v2, /v2/… or /v2?…. */
bool oci_is_api(const char *target);
/* Parses a raw request target. ERR_INVALID or ERR_NOT_FOUND, with *no filled. Unknown query keys are ignored. */
int oci_request_parse(struct oci_request *out, const char *target, struct oci_refusal *no) must_check;

#endif
