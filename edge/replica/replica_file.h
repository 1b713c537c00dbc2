/* The replica on disk (DATA/replica), so that a restart needs no snapshot: the place, all tiles, and a SHA-256 of it
 * all. It is replaced as a whole. A file that is damaged in any way is dropped, and the tiles are fetched anew.
 *
 *   "entrepot replica 1\n", epoch (16 bytes), number (8), digest (16),
 *   of each tile that is not empty: its number (2), records (4), bytes (4), the bytes; of a tile that is not of blobs
 *   the length (4) of each record in front of it; then 0xffff, and the SHA-256 of all before.
 *
 * Numbers are little-endian. Thread: any that may block on the disk. */
#ifndef ENTREPOT_EDGE_REPLICA_FILE_H
#define ENTREPOT_EDGE_REPLICA_FILE_H

#include "edge/replica/replica.h"

/* Fills an empty replica. True: it is equal to central's catalogue at *place. False: there is no file, or none that can
 * be used (then it is removed, and the replica is empty). */
bool replica_load(struct replica *r, const char *path, struct place *place);
/* Writes what the view holds. */
int replica_save(const struct replica_view *v, const struct place *place, const char *path,
                 struct error *err) must_check;

#endif
