/* One simulated edge: the very modules by which an edge follows central (watch, replica, tiles, settings, the fleet's
 * state), with a certificate and connections of its own, and without a disk, ports and clients. Thread: the simulator's
 * loop. */
#ifndef ENTREPOT_SIM_EDGE_H
#define ENTREPOT_SIM_EDGE_H

#include "common/core/loop.h"
#include "common/oci/name.h"
#include "edge/link/settings.h"
#include "edge/link/uplink.h"
#include "tests/sim/fake_disk.h"
#include "tests/sim/spread.h"

struct sim_edge;

/* A change that all edges wait for: the tag points to the digest. */
struct sim_change {
    bool wanted;
    struct repo_name repo;
    char tag[TAG_MAX + 1];
    struct digest digest;
    int64_t began_us;
    size_t seen;
};

/* What all edges share, and what they have seen. */
struct sim_edges {
    struct loop *loop;
    struct settings *settings; /* of all; each edge asks central for them all the same */
    int64_t beat_ms;           /* 0: no heartbeats */
    struct sim_change change;
    struct fake_disks disks;
    size_t up, lost;      /* equal to central by a live stream now; streams that ended */
    int64_t stream_bytes; /* of all streams */
    size_t beats, beats_failed, lookups_failed;
    struct spread sights, lookups, losses, returns; /* us: after the change began; for an answer; when, by the clock */
};

/* uplink: borrowed. It begins to watch at once. */
struct sim_edge *sim_edge_new(struct sim_edges *all, struct uplink *uplink);
void sim_edge_free(struct sim_edge *e);
/* Whether central has taken all that it has to tell of its blobs and pulls. */
bool sim_edge_has_told(const struct sim_edge *e);
/* Whether it is equal to central now. What has no event of its own is noticed by this call. */
bool sim_edge_look(struct sim_edge *e);
/* Asks central about a digest that it does not know; the time is counted in lookups. */
void sim_edge_lookup(struct sim_edge *e);
/* all->beat_ms or what is wanted is another. */
void sim_edge_told(struct sim_edge *e);

#endif
