/* What `edge` and `ca` ask on the control socket. Thread: handlers on serving loops, answers in the work pool.
 *
 *   POST /api/edge/invite?site=&expires_s=&uses=[&replaces=]   {"token","site","replaces","uses","expires_at",
 *                                                              "site_known","site_near"}
 *   GET  /api/edge/list, /api/edge/show?name=                  {"edges":[…]}, an edge
 *   POST /api/edge/remove?name=, /api/edge/allow?name=         an edge
 *   GET  /api/ca, POST /api/ca/rotate                          {"id","signer","root",…,"rotation":{"state","missing"}} */
#include "central/fleet/members.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "common/access/query.h"
#include "common/admin/api_answer.h"
#include "common/admin/engine_files.h"
#include "common/admin/job.h"
#include "common/config/units.h"
#include "common/core/clock.h"
#include "common/core/hex.h"
#include "common/core/host_port.h"
#include "central/fleet/rotation.h"
#include "common/core/log.h"
#include "common/identity/attest.h"
#include "common/identity/cert.h"
#include "common/identity/join_token.h"

#define EXPIRES_MAX_S (30 * 86400LL)

/* --- edges --- */

static json_t *edge_json(const struct members *m, const struct edge_facts *f) {
    json_t *j = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "name", f->name, "site", f->site, "state",
                          edge_state_word(f->state), "generation", (json_int_t)f->generation, "joined_at",
                          (json_int_t)f->joined_at, "certificate_not_after", (json_int_t)f->not_after);
    json_object_set_new(j, "seen_at", f->seen_at ? json_integer(f->seen_at) : json_null());
    json_object_set_new(j, "address", f->address[0] ? json_string(f->address) : json_null());
    json_object_set_new(j, "version", f->version[0] ? json_string(f->version) : json_null());
    if (f->state == EDGE_QUARANTINED) json_object_set_new(j, "reason", json_string(f->reason));
    if (m->shown) m->shown(f->name, j, m->shown_arg);
    return j;
}

json_t *members_edges_json(struct members *m) {
    struct edge_facts *list;
    size_t n = roster_list(m->roster, &list);
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(all, edge_json(m, &list[i]));
    free(list);
    return all;
}

static void run_list(struct job *j) {
    job_json(j, 200, json_pack("{s:o}", "edges", members_edges_json(j->arg)));
}

static void answer_edge(struct job *j, int code, struct error *err) {
    struct members *m = j->arg;
    struct edge_facts f = {0};
    if (code == 0 && !roster_get(m->roster, j->a, &f)) {
        error_set(err, ERR_NOT_FOUND, "there is no edge %.100s", j->a);
        error_hint(err, "`entrepot-central edge list` shows all");
    }
    if (err->code < 0)
        job_error(j, err);
    else
        job_json(j, 200, edge_json(m, &f));
}

static void run_show(struct job *j) {
    struct error err = {0};
    answer_edge(j, 0, &err);
}

static void run_remove(struct job *j) {
    struct error err = {0};
    answer_edge(j, roster_remove(((struct members *)j->arg)->roster, j->a, &err), &err);
}

static void run_allow(struct job *j) {
    struct error err = {0};
    answer_edge(j, roster_allow(((struct members *)j->arg)->roster, j->a, &err), &err);
}

/* --- invites --- */

/* Where edges reach the fleet port, unless fleet.addresses says it. */
static int own_address(const struct node_config *node, char out[TOKEN_ADDRESS_MAX], struct error *err) {
    struct host_port listen;
    struct client_facts facts;
    struct node_config as_fleet = *node;
    bool parsed = host_port_parse(&listen, node->node_listen);
    bool any = !parsed || !listen.host[0] || strcmp(listen.host, "0.0.0.0") == 0 || strcmp(listen.host, "::") == 0;
    as_fleet.registry_listen = node->node_listen;
    as_fleet.registry_cert_file = NULL;
    as_fleet.registry_tls = REGISTRY_TLS_FILES;
    client_facts_find(&facts, &as_fleet);
    const char *address = any ? facts.host : node->node_listen;
    if (strlen(address) < TOKEN_ADDRESS_MAX) {
        snprintf(out, TOKEN_ADDRESS_MAX, "%.263s", address);
        return 0;
    }
    return error_set(err, ERR_INVALID, "the address of the fleet port is too long");
}

int members_token_addresses(struct members *m, struct join_token *t, struct error *err) {
    size_t n;
    char **addresses = members_addresses(m, &n);
    for (size_t i = 0; i < n && t->n_addresses < TOKEN_ADDRESSES_MAX; i++)
        snprintf(t->addresses[t->n_addresses++], TOKEN_ADDRESS_MAX, "%.263s", addresses[i]);
    members_free_addresses(addresses, n);
    if (t->n_addresses > 0) return 0;
    t->n_addresses = 1;
    return own_address(&m->cfg->node, t->addresses[0], err);
}

static int fill_token(struct members *m, struct join_token *t, struct error *err) {
    if (RAND_bytes(t->secret, sizeof(t->secret)) != 1) return error_set(err, ERR_INTERNAL, "no random numbers");
    STACK_OF(X509) *roots = ca_trusted(m->ca);
    for (int i = 0; i < sk_X509_num(roots); i++)
        cert_hash(sk_X509_value(roots, i), t->roots[t->n_roots++]);
    sk_X509_free(roots);
    return members_token_addresses(m, t, err);
}
struct invite_ask {
    char site[QUERY_PARAM_MAX], replaces[QUERY_PARAM_MAX];
    int64_t expires_s, uses;
};

static int number(const char *target, const char *name, int64_t max, int64_t *out, struct error *err) {
    char text[QUERY_PARAM_MAX];
    if (query_param(target, name, text) != 1) return error_set(err, ERR_INVALID, "%s is needed", name);
    int r = int_parse(text, 1, max, out, err);
    return r < 0 ? error_wrap(err, "%s", name) : 0;
}

static int read_ask(struct members *m, const char *target, struct invite_ask *a, struct error *err) {
    struct edge_facts f;
    if (query_param(target, "replaces", a->replaces) != 1) a->replaces[0] = '\0';
    if (query_param(target, "site", a->site) != 1) a->site[0] = '\0';
    if (!a->site[0] && a->replaces[0] && roster_get(m->roster, a->replaces, &f))
        snprintf(a->site, sizeof(a->site), "%s", f.site);
    if (!a->site[0] && a->replaces[0]) {
        error_set(err, ERR_NOT_FOUND, "there is no edge %.100s to replace", a->replaces);
        error_hint(err, "`entrepot-central edge list` shows all; without --replace the edge gets a new name");
        return ERR_NOT_FOUND;
    }
    int r = member_name_check(a->site, err);
    if (r < 0) return error_wrap(err, "site");
    r = number(target, "expires_s", EXPIRES_MAX_S, &a->expires_s, err);
    if (r < 0) return error_hint(err, "--expires TIME, from 1s to %lldd, for example 7d", EXPIRES_MAX_S / 86400L), r;
    r = number(target, "uses", INVITE_USES_MAX, &a->uses, err);
    if (r < 0) error_hint(err, "--uses N, from 1 to %d", INVITE_USES_MAX);
    return r;
}

static int make_invite(struct members *m, const struct invite_ask *a, json_t **out, struct error *err) {
    char text[TOKEN_TEXT_MAX], near[QUERY_PARAM_MAX];
    struct join_token t = {.expires_s = clock_wall_s() + a->expires_s};
    const struct invite i = {
        .site = a->site, .replaces = a->replaces, .uses = (unsigned)a->uses, .expires_at = t.expires_s};
    int r = fill_token(m, &t, err);
    if (r == 0) r = token_format(&t, text, err);
    if (r == 0) r = roster_invite(m->roster, &i, t.secret, sizeof(t.secret), err);
    if (r == 0)
        *out = json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:b, s:s}", "token", text, "site", a->site, "replaces",
                         a->replaces, "uses", (json_int_t)a->uses, "expires_at", (json_int_t)t.expires_s, "address",
                         t.addresses[0], "site_known", cert_names_knows_site(m->names, a->site, near, sizeof(near)),
                         "site_near", near);
    explicit_bzero(text, sizeof(text));
    explicit_bzero(&t, sizeof(t));
    return r;
}

static void run_invite(struct job *j) {
    struct members *m = j->arg;
    struct error err = {0};
    struct invite_ask ask;
    json_t *made = NULL;
    int r = read_ask(m, j->a, &ask, &err);
    if (r == 0) r = make_invite(m, &ask, &made, &err);
    if (r < 0)
        job_error(j, &err);
    else
        job_json(j, 200, made);
}

/* --- the authority --- */

static json_t *cert_json(const X509 *cert) {
    uint8_t hash[32];
    char hex[65];
    struct member m;
    struct error err = {0};
    cert_hash(cert, hash);
    hex_write(hash, sizeof(hash), hex);
    int64_t end = member_of(&m, cert, &err) == 0 ? m.not_after : 0;
    return json_pack("{s:s, s:I}", "sha256", hex, "not_after", (json_int_t)end);
}

/* The step that a change of the root has reached, and the edges that it waits for. */
static json_t *rotation_json(const struct members *m) {
    enum ca_state state = ca_state(m->ca);
    static const char *const words[] = {"steady", "spreading", "retiring"};
    json_t *missing = json_array();
    struct edge_facts *list;
    size_t n = state == CA_STEADY ? 0 : roster_list(m->roster, &list);
    STACK_OF(X509) *roots = ca_trusted(m->ca);
    uint64_t mark = roots_mark(roots), signer = members_signer_mark(ca_signer(m->ca));
    for (size_t i = 0; i < n; i++) {
        const char *lacks = rotation_lacks(state, &list[i], mark, signer);
        if (!lacks) continue;
        json_t *e = edge_json(m, &list[i]);
        json_object_set_new(e, "lacks", json_string(lacks));
        json_array_append_new(missing, e);
    }
    if (state != CA_STEADY) free(list);
    sk_X509_free(roots);
    return json_pack("{s:s, s:s, s:o, s:I}", "state", words[state], "says", rotation_word(state), "missing", missing,
                     "not_before", (json_int_t)ca_retired_until(m->ca));
}

json_t *members_ca_json(const struct members *m) {
    json_t *j = json_pack("{s:s, s:o}", "id", ca_fleet(m->ca), "signer", cert_json(ca_signer(m->ca)));
    for (unsigned i = 0; i < CA_ROOTS; i++) {
        enum ca_root which = (enum ca_root)i;
        X509 *cert = ca_root(m->ca, which);
        if (!cert) continue;
        json_t *root = cert_json(cert);
        if (which != CA_RETIRED) json_object_set_new(root, "key_is_here", json_boolean(ca_has_key(m->ca, which)));
        json_object_set_new(j, ca_root_word(which), root);
    }
    json_object_set_new(j, "key_file", json_string(ca_key_file(m->ca)));
    json_object_set_new(j, "rotation", rotation_json(m));
    return j;
}

static void run_ca(struct job *j) {
    job_json(j, 200, members_ca_json(j->arg));
}

static void run_rotate(struct job *j) {
    struct members *m = j->arg;
    struct error err = {0};
    if (ca_begin_rotation(m->ca, &err) < 0) {
        job_error(j, &err);
        return;
    }
    log_info("ca_rotation_begun", KV_S("now", "every edge learns the new root"));
    atomic_store(&m->reload, true);
    members_look(m);
    job_json(j, 200, members_ca_json(m));
}

/* --- routes --- */

static void begin(struct http_req *req, struct members *m, void (*run)(struct job *j), const char *a) {
    job_start(&(struct job_order){.pool = m->node->pool, .run = run, .arg = m, .a = a}, req);
}

static void begin_named(struct http_req *req, struct members *m, void (*run)(struct job *j)) {
    char name[QUERY_PARAM_MAX];
    if (query_param(http_req_target(req), "name", name) == 1)
        begin(req, m, run, name);
    else
        api_reply_error(req, 400, "name is needed", "");
}

static void post_invite(struct http_req *req, void *arg) {
    begin(req, arg, run_invite, http_req_target(req));
}

static void get_list(struct http_req *req, void *arg) {
    begin(req, arg, run_list, NULL);
}

static void get_show(struct http_req *req, void *arg) {
    begin_named(req, arg, run_show);
}

static void post_remove(struct http_req *req, void *arg) {
    begin_named(req, arg, run_remove);
}

static void post_allow(struct http_req *req, void *arg) {
    begin_named(req, arg, run_allow);
}

static void get_ca(struct http_req *req, void *arg) {
    begin(req, arg, run_ca, NULL);
}

/* GET /api/registry/ca: {"pem"}, the roots below which the registry port's certificate is. */
static void run_registry_ca(struct job *j) {
    struct members *m = j->arg;
    STACK_OF(X509) *roots = ca_trusted(m->ca);
    struct buf b;
    buf_init(&b, 64 * KiB);
    for (int i = 0; i < sk_X509_num(roots); i++)
        pem_add_cert(&b, sk_X509_value(roots, i));
    sk_X509_free(roots);
    char *pem = buf_steal(&b, NULL);
    job_json(j, 200, json_pack("{s:s}", "pem", pem));
    free(pem);
}

static void get_registry_ca(struct http_req *req, void *arg) {
    if (((struct members *)arg)->registry_tls)
        begin(req, arg, run_registry_ca, NULL);
    else
        api_reply_error(req, 404, "registry.tls is not fleet", "");
}

static void post_rotate(struct http_req *req, void *arg) {
    begin(req, arg, run_rotate, NULL);
}

static void get_state(struct http_req *req, void *arg) {
    fleet_state_answer(((struct members *)arg)->state, req);
}

static void post_removals(struct http_req *req, void *arg) {
    issue_removals(&((struct members *)arg)->issue, req);
}

static void post_join(struct http_req *req, void *arg) {
    issue_join(&((struct members *)arg)->issue, req);
}

static void post_renew(struct http_req *req, void *arg) {
    issue_renew(&((struct members *)arg)->issue, req);
}

static void post_certificate(struct http_req *req, void *arg) {
    issue_certificate(&((struct members *)arg)->issue, req);
}

const struct route members_routes[] = {{"/api/edge/invite", METHODS_POST, PORT_CONTROL, post_invite},
                                       {"/api/edge/list", METHODS_READ, PORT_CONTROL, get_list},
                                       {"/api/edge/show", METHODS_READ, PORT_CONTROL, get_show},
                                       {"/api/edge/remove", METHODS_POST, PORT_CONTROL, post_remove},
                                       {"/api/edge/allow", METHODS_POST, PORT_CONTROL, post_allow},
                                       {"/api/ca", METHODS_READ, PORT_CONTROL, get_ca},
                                       {"/api/registry/ca", METHODS_READ, PORT_CONTROL, get_registry_ca},
                                       {"/api/ca/rotate", METHODS_POST, PORT_CONTROL, post_rotate},
                                       {WIRE_STATE_PATH, METHOD_SET(HTTP_GET), PORT_NODE, get_state},
                                       {WIRE_REMOVALS_PATH, METHODS_POST, PORT_NODE, post_removals},
                                       {WIRE_JOIN_PATH, METHODS_POST, PORT_NODE, post_join},
                                       {WIRE_RENEW_PATH, METHODS_POST, PORT_NODE, post_renew},
                                       {WIRE_CERTIFICATE_PATH, METHODS_POST, PORT_NODE, post_certificate},
                                       {0}};
