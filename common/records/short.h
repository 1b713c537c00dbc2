/* Manifests as they are sent: a child whose blob the receiver has, too, is named by the first five bytes of its digest,
 * and its size is left out where it is the blob's. If that names another blob, the digest of the tile tells. Pure.
 * Thread: any. */
#ifndef ENTREPOT_RECORDS_SHORT_H
#define ENTREPOT_RECORDS_SHORT_H

#include "common/records/record.h"

#define SHORT_BYTES 5

/* What the sender has: the size of the blob with that digest; false: there is none. */
struct record_blobs {
    bool (*size)(const uint8_t digest[RECORD_DIGEST], int64_t *size, void *arg);
    void *arg;
};
/* What the receiver has: the only blob whose digest begins so; false: there is none, or several. */
struct record_names {
    bool (*blob)(const uint8_t name[SHORT_BYTES], uint8_t digest[RECORD_DIGEST], int64_t *size, void *arg);
    void *arg;
};
/* Append the other form of a record of a manifest. record must be sound; the short form may be anything: ERR_INVALID,
 * ERR_NOT_FOUND (a name that is not known). What comes out of record_lengthen has yet to be checked. */
int record_shorten(const uint8_t *record, size_t len, const struct record_blobs *blobs, struct buf *out) must_check;
int record_lengthen(const uint8_t *form, size_t len, const struct record_names *names, struct buf *out) must_check;

#endif
