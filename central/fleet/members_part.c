/* Thread: as node_part.h says of each function. */
#include "central/fleet/members_part.h"

#include "central/fleet/members.h"
#include "central/names/names_part.h"
#include "common/core/alloc.h"
#include "common/http/tls.h"

/* Central's own certificate is made anew at each start and each day; edges whose clock is 15 days fast still take
 * it. */
#define OWN_LIFETIME_S (30 * 86400LL)
#define OWN_EVERY_MS (86400LL * 1000)

static void on_renew(void *arg) {
    struct members *m = arg;
    tls_server_replace(m->tls, ca_context(m->ca, OWN_LIFETIME_S));
    timer_set(&m->renew, OWN_EVERY_MS);
}

static X509 *sign(const struct member *who, EVP_PKEY *key, void *arg) {
    return ca_issue(((struct members *)arg)->ca, who, key);
}

static int open_all(struct members *m, struct error *err) {
    const struct node_config *node = m->node->config;
    int r = ca_open(&m->ca, node->data, m->cfg->ca_key_file, err);
    if (r < 0) return r;
    const struct roster_config rc = {.data = node->data,
                                     .pool = m->node->pool,
                                     .lifetime_s = m->cfg->certificate_ms / 1000,
                                     .sign = sign,
                                     .arg = m,
                                     .fleet = ca_fleet(m->ca)};
    return roster_open(&m->roster, &rc, err);
}

static int start(struct node *n, void **self, struct error *err) {
    struct members *m = xcalloc(1, sizeof(*m));
    m->node = n;
    m->cfg = central_config_of(n);
    int r = open_all(m, err);
    if (r < 0) {
        ca_close(m->ca);
        free(m);
        return r;
    }
    m->tls = tls_server_of(ca_context(m->ca, OWN_LIFETIME_S));
    m->door = (struct door){
        .roster = m->roster, .fleet = ca_fleet(m->ca), .rejoin_window_s = m->cfg->rejoin_window_ms / 1000};
    door_init(&m->door, m->tls);
    m->issue = (struct issue){.ca = m->ca, .roster = m->roster, .pool = n->pool};
    n->gate = &m->door.gate;
    timer_init(&m->renew, n->control, on_renew, m);
    timer_set(&m->renew, OWN_EVERY_MS);
    *self = m;
    return 0;
}

static void stop(void *self) {
    struct members *m = self;
    timer_fini(&m->renew);
    roster_close(m->roster);
    tls_server_free(m->tls);
    ca_close(m->ca);
    free(m);
}

static void status(json_t *into, void *self) {
    json_object_set_new(into, "fleet", members_ca_json(self));
    json_object_set_new(into, "edges", members_edges_json(self));
}

const struct node_part part_members = {
    .name = "members", .start = start, .stop = stop, .routes = members_routes, .status = status, .doctor = status};
