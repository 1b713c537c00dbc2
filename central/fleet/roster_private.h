/* Structures shared by the files of the roster only. Thread: as each says. */
#ifndef ENTREPOT_FLEET_ROSTER_PRIVATE_H
#define ENTREPOT_FLEET_ROSTER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "central/fleet/roster_db.h"
#include "common/core/map.h"

/* Processes of one edge that are told apart. */
#define INSTANCES_MAX 8

struct edge {
    struct roster *roster;
    /* Under roster->lock: */
    struct edge_facts facts;
    bool confirmed;                              /* its newest certificate has been shown: it has arrived */
    uint64_t instances[INSTANCES_MAX], instance; /* processes that were seen; the latest */
    unsigned n_instances, returns;               /* returns: how often an earlier process came again */
    struct ip seen_from; /* what facts.address says, so that it is compared without being written; zeros: not known */
    bool dirty, saving;
    struct work save;
};

struct roster {
    struct roster_config cfg;
    pthread_mutex_t write; /* guards db; taken before lock */
    sqlite3 *db;
    pthread_mutex_t lock;     /* guards edges and what is in them; held for a few instructions */
    struct map *edges;        /* name -> struct edge */
    _Atomic uint64_t changes; /* counted under lock, after each change of an edge's state or key */
};

/* Under write, with the edge's rows in one transaction: keeps the signed removal. */
int roster_attest_removal(struct roster *r, const struct edge_facts *f, struct error *err) must_check;

/* Under lock. The new edge is not in the file yet. */
struct edge *roster_add(struct roster *r, const struct edge_facts *f);
/* Under lock. It is refused from now on. */
void roster_quarantine(struct edge *e, const char *reason);

#endif
