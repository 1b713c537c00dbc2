/* Keeps central's own certificate, the fleet's state and a change of the root going. Thread: as node_part.h says of
 * each function. */
#include "central/fleet/members_part.h"

#include <stdio.h>
#include <string.h>

#include "central/fleet/members.h"
#include "central/fleet/rotation.h"
#include "central/names/names_part.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/http/tls.h"
#include "common/identity/attest.h"
#include "common/identity/cert.h"
#include "common/identity/trust.h"
#include "common/node/probe.h"

/* Central's own certificate is made anew at each start and each day. It lasts long enough for edges whose clock is 15
 * days fast. */
#define OWN_LIFETIME_S (30 * 86400LL)
#define OWN_EVERY_MS (86400LL * 1000)
/* How often a rotation looks whether it may go on. */
#define ROTATION_MS 1000
/* Doctor waits so long for an address. */
#define ADDRESS_MS 3000

static SSL_CTX *registry_context(struct members *m) {
    struct cert_names_grant *g = xcalloc(1, sizeof(*g));
    const char *names[CERT_NAMES_MAX];
    cert_names_of_central(m->names, g);
    for (size_t i = 0; i < g->n; i++)
        names[i] = g->names[i];
    SSL_CTX *ctx = ca_server_context(
        m->ca,
        &(struct ca_server){.common_name = "central", .names = names, .n_names = g->n, .lifetime_s = OWN_LIFETIME_S});
    free(g);
    return ctx;
}

static void on_renew(void *arg) {
    struct members *m = arg;
    tls_server_replace(m->tls, ca_context(m->ca, OWN_LIFETIME_S));
    if (m->registry_tls) tls_server_replace(m->registry_tls, registry_context(m));
    timer_set(&m->renew, OWN_EVERY_MS);
}

/* --- for the roster --- */

static X509 *sign(const struct member *who, EVP_PKEY *key, void *arg) {
    return ca_issue(((struct members *)arg)->ca, who, key);
}

uint64_t members_signer_mark(X509 *signer) {
    uint8_t hash[32];
    uint64_t mark;
    cert_hash(signer, hash);
    memcpy(&mark, hash, sizeof(mark));
    return mark >> 1 | 1; /* SQLite has signed numbers only; 0 means none */
}

static uint64_t signer(X509 *cert, void *arg) {
    X509 *found = ca_signer_of(((struct members *)arg)->ca, cert);
    return found ? members_signer_mark(found) : 0;
}

static X509 *attest(const void *data, size_t len, uint8_t **signature, size_t *signature_len, void *arg) {
    return ca_attest(((struct members *)arg)->ca, data, len, signature, signature_len);
}

static void on_removed(void *arg) {
    members_look(arg);
}

/* --- addresses --- */

static char **copy_list(char *const *list, size_t n) {
    char **copy = xcalloc(n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = xstrdup(list[i]);
    return copy;
}

void members_free_addresses(char **list, size_t n) {
    for (size_t i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

char **members_addresses(struct members *m, size_t *n) {
    pthread_mutex_lock(&m->lock);
    *n = m->n_addresses;
    char **copy = copy_list(m->addresses, m->n_addresses);
    pthread_mutex_unlock(&m->lock);
    return copy;
}

/* --- the state, and the steps of a rotation --- */

/* Work pool. */
static int make_state(struct members *m, struct error *err) {
    size_t n;
    char **addresses = members_addresses(m, &n);
    int r = fleet_state_make(m->state, addresses, n, err);
    members_free_addresses(addresses, n);
    return r;
}

/* Work pool. True if every edge has what the next step of a rotation needs. */
static bool may_go_on(struct members *m, enum ca_state state) {
    struct edge_facts *list;
    size_t n = roster_list(m->roster, &list);
    STACK_OF(X509) *roots = ca_trusted(m->ca);
    bool may = rotation_may_go_on(state, list, n, roots_mark(roots), members_signer_mark(ca_signer(m->ca)),
                                  ca_retired_until(m->ca), clock_wall_s());
    sk_X509_free(roots);
    free(list);
    return may;
}

static void take_step(struct members *m) {
    struct error err = {0};
    enum ca_state state = ca_state(m->ca);
    if (state == CA_STEADY || !may_go_on(m, state)) return;
    int r = state == CA_SPREADING ? ca_switch(m->ca, &err) : ca_end_rotation(m->ca, &err);
    if (r < 0) {
        log_error("ca_step_failed", KV_S("why", err.msg), KV_S("hint", err.hint));
        return;
    }
    atomic_store(&m->reload, true);
    log_info(state == CA_SPREADING ? "ca_switched" : "ca_rotated",
             KV_S("now", state == CA_SPREADING ? "the new root signs; edges renew their certificates"
                                               : "the old root has left"));
}

static void run_look(struct offload *o) {
    struct members *m = container_of(o, struct members, work);
    struct error err = {0};
    take_step(m);
    int r = make_state(m, &err);
    if (r < 0) log_error("fleet_state_not_made", KV_S("why", err.msg));
    if (r > 0) atomic_store(&m->told, true);
}

static void look(struct members *m);

static void on_looked(struct offload *o) {
    struct members *m = container_of(o, struct members, work);
    m->working = false;
    if (atomic_exchange(&m->reload, false)) on_renew(m);
    if (atomic_exchange(&m->told, false) && m->changed) m->changed(m->changed_arg);
    if (ca_state(m->ca) != CA_STEADY) timer_set(&m->rotation, ROTATION_MS);
    if (m->again) look(m);
}

static void look(struct members *m) {
    m->again = m->working;
    if (m->working) return;
    m->working = true;
    m->work.run = run_look;
    m->work.back = on_looked;
    offload_start(&m->work, m->node->pool, m->node->control);
}

static void on_rotation(void *arg) {
    look(arg);
}

static void on_news(void *arg) {
    look(arg);
}

void members_look(struct members *m) {
    loop_call(m->node->control, on_news, m);
}

static int64_t cert_end(const X509 *cert) {
    struct member who;
    struct error ignored = {0};
    return member_of(&who, cert, &ignored) == 0 ? who.not_after : 0;
}

/* --- life --- */

static int open_all(struct members *m, struct error *err) {
    const struct node_config *node = m->node->config;
    int r = ca_open(&m->ca, node->data, m->cfg->ca_key_file, err);
    if (r < 0) return r;
    const struct roster_config rc = {.data = node->data,
                                     .pool = m->node->pool,
                                     .lifetime_s = m->cfg->certificate_ms / 1000,
                                     .sign = sign,
                                     .signer = signer,
                                     .attest = attest,
                                     .removed = on_removed,
                                     .arg = m,
                                     .fleet = ca_fleet(m->ca),
                                     .rejoin_window_s = m->cfg->rejoin_window_ms / 1000};
    r = roster_open(&m->roster, &rc, err);
    if (r < 0) return r;
    m->state = fleet_state_new(m->ca, m->roster);
    r = make_state(m, err);
    return r < 0 ? r : 0;
}

static void close_all(struct members *m) {
    fleet_state_free(m->state);
    roster_close(m->roster);
    tls_server_free(m->tls);
    tls_server_free(m->registry_tls);
    cert_names_free(m->names);
    ca_close(m->ca);
    members_free_addresses(m->addresses, m->n_addresses);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static int start(struct node *n, void **self, struct error *err) {
    struct members *m = xcalloc(1, sizeof(*m));
    m->node = n;
    m->cfg = central_config_of(n);
    pthread_mutex_init(&m->lock, NULL);
    m->n_addresses = m->cfg->n_fleet_addresses;
    m->addresses = copy_list(m->cfg->fleet_addresses, m->n_addresses);
    int r = open_all(m, err);
    if (r < 0) {
        close_all(m);
        return r;
    }
    m->tls = tls_server_of(ca_context(m->ca, OWN_LIFETIME_S));
    m->names = cert_names_new(m->cfg);
    if (n->config->registry_tls == REGISTRY_TLS_FLEET)
        n->registry_tls = m->registry_tls = tls_server_of(registry_context(m));
    m->door = (struct door){
        .roster = m->roster, .fleet = ca_fleet(m->ca), .rejoin_window_s = m->cfg->rejoin_window_ms / 1000};
    door_init(&m->door, m->tls);
    m->issue = (struct issue){.ca = m->ca,
                              .roster = m->roster,
                              .pool = n->pool,
                              .names = m->names,
                              .lifetime_s = m->cfg->certificate_ms / 1000,
                              .removed = on_removed,
                              .arg = m};
    n->gate = &m->door.gate;
    timer_init(&m->renew, n->control, on_renew, m);
    timer_set(&m->renew, OWN_EVERY_MS);
    timer_init(&m->rotation, n->control, on_rotation, m);
    if (ca_state(m->ca) != CA_STEADY) timer_set(&m->rotation, ROTATION_MS);
    *self = m;
    return 0;
}

static void stop(void *self) {
    struct members *m = self;
    timer_fini(&m->renew);
    timer_fini(&m->rotation);
    close_all(m);
}

/* SIGHUP: the next addresses of central reach the edges before it moves. */
static const char *reload(void *self, const struct node_config *fresh) {
    struct members *m = self;
    const struct central_config *cfg = (const struct central_config *)(const void *)fresh;
    cert_names_replace(m->names, cfg);
    bool same = cfg->n_fleet_addresses == m->n_addresses;
    for (size_t i = 0; same && i < m->n_addresses; i++)
        same = strcmp(m->addresses[i], cfg->fleet_addresses[i]) == 0;
    if (same) return NULL;
    pthread_mutex_lock(&m->lock);
    members_free_addresses(m->addresses, m->n_addresses);
    m->n_addresses = cfg->n_fleet_addresses;
    m->addresses = copy_list(cfg->fleet_addresses, m->n_addresses);
    pthread_mutex_unlock(&m->lock);
    look(m);
    return "took fleet.addresses and told the edges";
}

/* As an edge tells it (edge/link/registry_cert.h). */
static json_t *registry_json(struct members *m) {
    struct cert_names_grant *g = xcalloc(1, sizeof(*g));
    json_t *names = json_array();
    cert_names_of_central(m->names, g);
    for (size_t i = 0; i < g->n; i++)
        json_array_append_new(names, json_string(g->names[i]));
    free(g);
    return json_pack("{s:o, s:[], s:I, s:s}", "names", names, "refused", "not_after",
                     (json_int_t)tls_server_not_after(m->registry_tls), "problem", "");
}

static void status(json_t *into, void *self) {
    struct members *m = self;
    json_object_set_new(into, "fleet", members_ca_json(m));
    json_object_set_new(into, "edges", members_edges_json(m));
    if (m->registry_tls) json_object_set_new(into, "registry_certificate", registry_json(m));
}

static void metrics(struct metric_page *page, void *self) {
    struct members *m = self;
    struct edge_facts *list;
    size_t n = roster_list(m->roster, &list), missing = 0, by_state[EDGE_REMOVED + 1] = {0};
    enum ca_state state = ca_state(m->ca);
    STACK_OF(X509) *roots = ca_trusted(m->ca);
    uint64_t mark = roots_mark(roots), who = members_signer_mark(ca_signer(m->ca));
    for (size_t i = 0; i < n; i++) {
        by_state[list[i].state]++;
        if (rotation_lacks(state, &list[i], mark, who)) missing++;
    }
    sk_X509_free(roots);
    free(list);
    for (unsigned i = 0; i <= EDGE_REMOVED; i++)
        metric_label_set(page, FAMILY_FLEET_EDGES, edge_state_word((enum edge_state)i), NULL, (double)by_state[i]);
    metric_set(page, METRIC_CA_STATE, (double)state);
    metric_set(page, METRIC_CA_MISSING, (double)missing);
    metric_label_set(page, FAMILY_CERTIFICATE_END, "fleet root", NULL, (double)cert_end(ca_root(m->ca, CA_ROOT)));
    metric_label_set(page, FAMILY_CERTIFICATE_END, "fleet signer", NULL, (double)cert_end(ca_signer(m->ca)));
}

/* --- for doctor: the addresses of tokens, from here --- */

static void prepare(SSL_CTX *ctx, void *arg) {
    trust_apply(arg, ctx);
}

static const char *why(void *arg) {
    return ((const struct trust *)arg)->why;
}

/* The call shows no certificate, so this central answers 403; but it shows its own, which is what doctor checks. The
 * check is made while the connection is opened, so t need not outlive the call. */
static json_t *address_json(struct members *m, const char *address, STACK_OF(X509) * roots) {
    char url[TOKEN_ADDRESS_MAX + 16];
    struct trust t = {.roots = roots};
    const struct http_tls tls = {.prepare = prepare, .why = why, .arg = &t};
    struct probe p = {.url = url, .tls = &tls};
    snprintf(t.fleet, sizeof(t.fleet), "%s", ca_fleet(m->ca));
    snprintf(url, sizeof(url), "https://%.263s", address);
    probes_ask(m->node->probes, &p, 1, ADDRESS_MS);
    return json_pack("{s:s, s:s}", "address", address, "problem", p.ok ? "" : p.message[0] ? p.message : "no answer");
}

static void doctor(json_t *into, void *self) {
    struct members *m = self;
    struct error err = {0};
    struct join_token t = {0};
    status(into, self);
    json_t *list = json_array();
    if (members_token_addresses(m, &t, &err) == 0) {
        STACK_OF(X509) *roots = ca_trusted(m->ca);
        for (size_t i = 0; i < t.n_addresses; i++)
            json_array_append_new(list, address_json(m, t.addresses[i], roots));
        sk_X509_free(roots);
    }
    json_object_set_new(json_object_get(into, "fleet"), "addresses", list);
}

const struct node_part part_members = {.name = "members",
                                       .start = start,
                                       .stop = stop,
                                       .routes = members_routes,
                                       .status = status,
                                       .doctor = doctor,
                                       .metrics = metrics,
                                       .reload = reload};

uint64_t members_state_version(const struct node *n) {
    return fleet_state_version(((struct members *)node_part(n, &part_members))->state);
}

void members_on_change(const struct node *n, void (*fn)(void *arg), void *arg) {
    struct members *m = node_part(n, &part_members);
    m->changed = fn;
    m->changed_arg = arg;
}

void members_on_edge_shown(const struct node *n, void (*fn)(const char *name, json_t *edge, void *arg), void *arg) {
    struct members *m = node_part(n, &part_members);
    m->shown = fn;
    m->shown_arg = arg;
}

struct roster *members_roster(const struct node *n) {
    return ((struct members *)node_part(n, &part_members))->roster;
}
