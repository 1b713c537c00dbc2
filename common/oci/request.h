/* A request target under /v2/ taken apart (distribution-spec "Endpoints"): what is asked, of which repository, by which
 * reference. Decodes percent-encoding once, then matches; anything odd is refused, nothing is a file path. Pure.
 * Thread: any. */
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
    char path[REPO_STR_MAX]; /* repository as in the URL, its host included; decoded and checked */
    struct reference ref;    /* blob, manifest, referrers */
    bool has_ns;
    char ns[HOST_MAX + 1];
    int64_t n; /* ?n=, -1 when absent */
    bool has_last;
    char last[REPO_STR_MAX];
    char artifact_type[256]; /* "" when absent */
};

/* What to answer when it is refused. */
struct oci_refusal {
    int status;       /* 400, 404, 405 */
    const char *code; /* registry error code, static */
    char msg[256];
};

/* Whether a request target is the registry API's: /v2, /v2/… or /v2?…. */
bool oci_is_api(const char *target);
/* target: raw request target. 0, or ERR_INVALID / ERR_NOT_FOUND with *no filled. Unknown query keys are ignored. */
int oci_request_parse(struct oci_request *out, const char *target, struct oci_refusal *no) must_check;

#endif
