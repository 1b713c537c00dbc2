/* What replicas are given: the place, the changes after one, the digests of tiles and their records. Thread: any that
 * may block on the disk. */
#ifndef ENTREPOT_CATALOG_REPLICA_READS_H
#define ENTREPOT_CATALOG_REPLICA_READS_H

#include "central/catalog/catalog.h"
#include "common/records/messages.h"
#include "common/records/tile_body.h"

/* All return 0, ERR_CORRUPT, ERR_INTERNAL or what they name. */

/* Where the log is now. */
int catalog_place(struct catalog *c, struct place *out) must_check;
/* Whether what changed after this place can be told: it is the present one, or the log has it, with this digest. now:
 * where the log is. */
int catalog_knows_place(struct catalog *c, const struct place *p, bool *knows, struct place *now) must_check;
/* Appends at most max messages (framed, common/records/messages.h) of the changes after number, as they stand in the
 * log, up to about max_bytes. *last: the number of the last one, unless there was none. ERR_NOT_FOUND: the log does not go
 * back to that number, and out has nothing new. */
int catalog_changes_after(struct catalog *c, uint64_t number, size_t max, size_t max_bytes, struct buf *out,
                          uint64_t *last) must_check;
/* The digests of all tiles, and the place they are of. The caller calls tile_list_fini. */
int catalog_tiles(struct catalog *c, struct tile_list *out) must_check;

/* Reads some tiles, all as of one place. */
struct tile_reader {
    /* The digest of a tile, before its records are read. False: they are not needed. */
    bool (*wants)(unsigned tile, const struct place *of, void *arg);
    /* The records (NULL: more than there is memory for), and what blobs there are. of: the place, with the tile's
     * digest. False: enough; no further tile is read. */
    bool (*tile)(unsigned tile, const struct place *of, const struct tile_records *records,
                 const struct record_blobs *blobs, void *arg);
    void *arg;
    size_t tag_bytes; /* of memory for the tags of one call, beyond which further tiles are left out; 0: 32 MiB */
};
#define CATALOG_TILES_MAX 64
int catalog_read_tiles(struct catalog *c, const unsigned *tiles, size_t n, const struct tile_reader *reader) must_check;

#endif
