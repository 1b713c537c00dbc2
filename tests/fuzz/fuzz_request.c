/* Request targets: whatever is accepted has a checked repository and a usable reference, whatever is refused says why.
 */
#include "common/oci/request.h"
#include "common/oci/regerror.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *target = malloc(size + 1);
    if (size) memcpy(target, data, size);
    target[size] = '\0';
    struct oci_request rq;
    struct oci_refusal no;
    if (oci_request_parse(&rq, target, &no) == 0) {
        assert(!strstr(rq.path, "..") && rq.path[0] != '/' && strlen(rq.path) < REPO_STR_MAX);
        assert(!rq.has_ns || host_check(rq.ns, strlen(rq.ns)) == 0);
        char s[DIGEST_STR_MAX];
        if (rq.endpoint == OCI_MANIFEST || rq.endpoint == OCI_BLOB) assert(reference_str(&rq.ref, s)[0]);
    } else {
        assert(no.status >= 400 && no.msg[0] && regerror_by_code(no.code) != REGERR_UNKNOWN);
        char doc[256];
        assert(regerror_document(regerror_by_code(no.code), no.msg, target, doc, sizeof(doc)) < sizeof(doc));
    }
    free(target);
    return 0;
}
