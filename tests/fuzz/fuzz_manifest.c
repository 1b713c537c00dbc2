/* Manifest documents of any kind: bounded, and every child listed has a digest we know. */
#include "common/oci/manifest.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct manifest m;
    struct error err = {0};
    int r = manifest_parse(&m, data, size, &err);
    assert(r == err.code && m.n_children <= MANIFEST_MAX_CHILDREN);
    for (size_t i = 0; i < m.n_children; i++)
        assert(digest_len(m.children[i].digest.alg) && m.children[i].size >= -1);
    manifest_fini(&m);
    char *s = malloc(size + 1), type[MEDIA_TYPE_MAX + 1];
    if (size) memcpy(s, data, size);
    s[size] = '\0';
    media_type_clean(s, type);
    free(s);
    return 0;
}
