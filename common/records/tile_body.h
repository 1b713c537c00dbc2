/* The body of a tile as it is sent. Of blobs: the differences of the first four bytes of each digest and the sizes, as
 * varints and compressed (zstd), with their length in front; then the other 28 bytes of each digest, which nothing can
 * compress. Of manifests and tags: all records, each with its length in front, compressed; those of manifests in the
 * form of short.h. Pure. Thread: any. */
#ifndef ENTREPOT_RECORDS_TILE_BODY_H
#define ENTREPOT_RECORDS_TILE_BODY_H

#include "common/records/short.h"
#include "common/records/tile.h"

/* blobs: that the receiver has, too; NULL: none. */
int tile_body_pack(const struct tile_records *t, const struct record_blobs *blobs, struct buf *out) must_check;
/* Fills *out (initialised, empty) with sound records of this tile in order. ERR_INVALID, ERR_TOO_BIG; ERR_NOT_FOUND: a
 * child is named that is not among the names (NULL: there are none), so the tile must be had in full. */
int tile_body_unpack(unsigned tile, const void *body, size_t len, const struct record_names *names,
                     struct tile_records *out) must_check;

#endif
