/* The body of a tile as it is sent. Of blobs: the differences of the first four bytes of each digest and the sizes, as
 * varints and compressed (zstd), with their length in front; then the other 28 bytes of each digest, which nothing can
 * compress. Of manifests and tags: all records, each with its length in front, compressed. Pure. Thread: any. */
#ifndef ENTREPOT_RECORDS_TILE_BODY_H
#define ENTREPOT_RECORDS_TILE_BODY_H

#include "common/records/tile.h"

int tile_body_pack(const struct tile_records *t, struct buf *out) must_check;
/* Fills *out (initialised, empty) with sound records of this tile in order. ERR_INVALID, ERR_TOO_BIG. */
int tile_body_unpack(unsigned tile, const void *body, size_t len, struct tile_records *out) must_check;

#endif
