/* Encodes and decodes the states of central's upstreams. Thread: any. */
#include "common/wire/upstreams.h"

#include "common/core/alloc.h"
#include "common/wire/pack.h"
#include "common/wire/wire.h"
#include "proto/catalog.pb-c.h"

#include <stdio.h>

#define UPSTREAMS_MAX 10000

int wire_upstreams_encode(const struct wire_upstream_state *states, size_t n, uint8_t **out, size_t *len) {
    Entrepot__V1__UpstreamState *rows = xcalloc(n + 1, sizeof(*rows)), **list = xcalloc(n + 1, sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        const struct wire_upstream_state *s = &states[i];
        entrepot__v1__upstream_state__init(list[i] = &rows[i]);
        rows[i].name = (char *)(uintptr_t)s->name;
        rows[i].reachable = s->reachable;
        rows[i].last_error = (char *)(uintptr_t)s->last_error;
        rows[i].requests = s->requests;
        rows[i].rate_known = s->rate_limit >= 0;
        rows[i].rate_limit = s->rate_limit;
        rows[i].rate_remaining = s->rate_remaining;
        rows[i].wait_s = s->wait_s;
    }
    Entrepot__V1__UpstreamStates all;
    entrepot__v1__upstream_states__init(&all);
    all.version = WIRE_VERSION;
    all.upstreams = list;
    all.n_upstreams = n;
    int r = wire_pack(&all.base, WIRE_MAX_UPSTREAMS, out, len);
    free(rows);
    free(list);
    return r;
}

static void get_state(struct wire_upstream_state *s, const Entrepot__V1__UpstreamState *p) {
    snprintf(s->name, sizeof(s->name), "%s", p->name);
    snprintf(s->last_error, sizeof(s->last_error), "%s", p->last_error);
    s->reachable = p->reachable;
    s->wait_s = p->wait_s < 0 ? 0 : p->wait_s;
    s->requests = p->requests < 0 ? 0 : p->requests;
    s->rate_limit = p->rate_known && p->rate_limit >= 0 ? p->rate_limit : -1;
    s->rate_remaining = s->rate_limit >= 0 && p->rate_remaining >= 0 ? p->rate_remaining : -1;
}

int wire_upstreams_decode(const void *data, size_t len, struct wire_upstream_state **states, size_t *n) {
    *states = NULL;
    *n = 0;
    if (len > WIRE_MAX_UPSTREAMS) return ERR_TOO_BIG;
    Entrepot__V1__UpstreamStates *all = entrepot__v1__upstream_states__unpack(NULL, len, data);
    if (!all) return ERR_INVALID;
    int r = wire_check_version(all->version);
    if (r == 0 && all->n_upstreams > UPSTREAMS_MAX) r = ERR_TOO_BIG;
    if (r == 0) {
        *states = xcalloc(all->n_upstreams + 1, sizeof(**states));
        *n = all->n_upstreams;
        for (size_t i = 0; i < *n; i++)
            get_state(&(*states)[i], all->upstreams[i]);
    }
    entrepot__v1__upstream_states__free_unpacked(all, NULL);
    return r;
}
