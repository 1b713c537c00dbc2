/* Thread: as the header says. */
#include "common/core/sealed.h"

#include <string.h>

#include "common/core/alloc.h"
#include "common/core/digest.h"
#include "common/core/file.h"

enum { SUM_BYTES = 32 };

int sealed_read(const char *path, size_t max, char **data, size_t *len, struct error *err) {
    struct digest sum;
    int r = file_read_all(path, SUM_BYTES + max, data, len, err);
    if (r < 0) return r;
    if (*len >= SUM_BYTES) digest_of(&sum, DIGEST_SHA256, *data + SUM_BYTES, *len - SUM_BYTES);
    if (*len < SUM_BYTES)
        r = error_set(err, ERR_INVALID, "it is cut short");
    else if (memcmp(sum.bytes, *data, SUM_BYTES) != 0)
        r = error_set(err, ERR_INVALID, "its checksum does not match");
    if (r < 0) {
        free(*data);
        *data = NULL;
        return r;
    }
    *len -= SUM_BYTES;
    memmove(*data, *data + SUM_BYTES, *len);
    return 0;
}

int sealed_write(const char *path, const void *data, size_t len, struct error *err) {
    _cleanup_(freep) uint8_t *all = xmalloc(SUM_BYTES + len);
    struct digest sum;
    digest_of(&sum, DIGEST_SHA256, data, len);
    memcpy(all, sum.bytes, SUM_BYTES);
    if (len) memcpy(all + SUM_BYTES, data, len);
    return file_write_atomic(path, 0600, all, SUM_BYTES + len, err);
}
