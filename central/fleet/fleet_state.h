/* The state of the fleet as every edge gets it (proto/fleet.proto): the roots that are trusted, central's addresses,
 * who signs, and who was removed. It is encoded once for all edges; its version, a hash of it, goes with the watch, and
 * an edge that has another asks for it (GET /fleet/v1/state). Thread: any, unless a function says otherwise. */
#ifndef ENTREPOT_FLEET_FLEET_STATE_H
#define ENTREPOT_FLEET_FLEET_STATE_H

#include "central/fleet/ca.h"
#include "central/fleet/roster.h"
#include "common/http/server.h"

struct fleet_state;

struct fleet_state *fleet_state_new(const struct ca *ca, struct roster *roster);
void fleet_state_free(struct fleet_state *s);

/* Work pool, or before any loop runs. Makes the state anew from the authority and the roster, which may
 * change again at once. 1: it differs from the one before. */
int fleet_state_make(struct fleet_state *s, char *const *addresses, size_t n_addresses, struct error *err) must_check;
/* 0: there is none yet. */
uint64_t fleet_state_version(const struct fleet_state *s);
/* Serving loop: answers with it. */
void fleet_state_answer(struct fleet_state *s, struct http_req *req);

#endif
