/* `ls --where`: which edges hold an image, whole or in part.
 *
 *   GET /api/where?image=REF|DIGEST   {"image","digest","blobs","blobs_not_told","size","platforms":[],
 *                                      "edges":[{"edge","site","state","whole","platforms":[],"blobs","size"}]}
 *
 * Edges tell only of blobs that are named by sha256: who holds one of the others (blobs_not_told) is not known. An index
 * is whole at an edge that holds all of one of its platforms at least. 409 while what edges hold is still being read after
 * central's start. Thread: serving loop; the answer is made in the work pool. */
#ifndef ENTREPOT_CENTRAL_REPORTS_WHERE_H
#define ENTREPOT_CENTRAL_REPORTS_WHERE_H

#include "central/fleet/roster.h"
#include "central/reports/holdings.h"
#include "common/http/server.h"
#include "common/node/node_part.h"

/* Valid as long as the part that gives it. */
struct where {
    const struct node *node;
    struct holdings *holdings;
    struct roster *roster;
};
void where_handle(struct where *w, struct http_req *req);

#endif
