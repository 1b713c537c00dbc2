/*   resting ── due, or asked ──▶ making a key (work pool) ──▶ asking ── answered ──▶ saving (work pool) ──▶ resting
 *                                  └── failed ──▶ resting, to try again later ◀── failed ──┘
 *
 * Asks central for the certificate, checks it, and keeps it. Thread: the fetch loop, but for what is marked. */
#include "edge/link/registry_cert.h"

#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/host_port.h"
#include "common/core/log.h"
#include "common/core/offload.h"
#include "common/identity/attest.h"
#include "common/wire/node_headers.h"
#include "common/wire/wire.h"
#include "edge/link/breaker.h"

#define FILE_NAME "registry.pem"
#define CONDITION "registry_tls"
/* As in renewal.c: after a failure it is tried again after AGAIN_FIRST_MS, then after twice as long each time, at most
 * AGAIN_MAX_MS. The clock is looked at every LOOK_MAX_MS, because it may be set. */
#define AGAIN_FIRST_MS 1000
#define AGAIN_MAX_MS 300000
#define LOOK_MAX_MS 3600000
#define CONNECT_MS 5000
#define TOTAL_MS 30000

/* A key, its certificate first in a chain without the root. */
struct pair {
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
};

struct registry_cert {
    struct node *node;
    struct uplink *uplink;
    struct tls_server *tls; /* any thread */
    struct timer due;
    struct offload work;
    bool busy;
    bool wanted; /* whether it is due or not */
    int64_t due_s, again_ms;
    const struct identity *id; /* that asks */
    struct http_call *call;
    struct buf answer;
    char why[CENTRAL_WHY_MAX]; /* central's refusal; "": none */
    /* The job's. */
    struct pair fresh;
    uint8_t *body;
    size_t body_len;
    struct wire_names refused;
    struct error err;
    /* For people. */
    pthread_mutex_t lock; /* guards what follows */
    struct wire_names shown_refused;
    char names[2048];
    char problem[512];
};

static void pair_fini(struct pair *p) {
    EVP_PKEY_free(p->key);
    sk_X509_pop_free(p->chain, X509_free);
    *p = (struct pair){0};
}

/* --- names --- */

static void add_name(struct wire_names *to, const char *text) {
    struct host_port hp;
    if (!text || to->n == WIRE_NAMES_MAX || !host_port_parse(&hp, text) || !hp.host[0]) return;
    for (size_t i = 0; i < to->n; i++)
        if (strcasecmp(to->list[i], hp.host) == 0) return;
    snprintf(to->list[to->n++], WIRE_NAME_MAX, "%s", hp.host);
}

/* What the configuration says first. */
static void own_names(const struct node *n, struct wire_names *out) {
    char machine[HOST_PORT_HOST_MAX + 1] = "";
    for (size_t i = 0; i < n->config->n_registry_names; i++)
        add_name(out, n->config->registry_names[i]);
    add_name(out, n->config->address);
    for (size_t i = 0; i < n->n_addresses; i++)
        add_name(out, n->addresses[i]);
    if (gethostname(machine, sizeof(machine) - 1) == 0) add_name(out, machine);
}

/* Names that nobody has configured are asked for in case central grants them; it is no problem if it does not. */
static bool is_configured(const struct node_config *cfg, const char *name) {
    struct wire_names configured = {0};
    for (size_t i = 0; i < cfg->n_registry_names; i++)
        add_name(&configured, cfg->registry_names[i]);
    add_name(&configured, cfg->address);
    for (size_t i = 0; i < configured.n; i++)
        if (strcasecmp(configured.list[i], name) == 0) return true;
    return false;
}

/* The hosts and addresses in a certificate, with spaces between them. */
static void names_of(const X509 *cert, char *out, size_t cap) {
    GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    size_t len = 0;
    out[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(all) && len < cap; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        const ASN1_STRING *s = g->type == GEN_DNS ? g->d.dNSName : g->type == GEN_IPADD ? g->d.iPAddress : NULL;
        char text[WIRE_NAME_MAX];
        struct ip ip = {{[10] = 0xff, [11] = 0xff}};
        int n = s ? ASN1_STRING_length(s) : 0;
        if (g->type == GEN_IPADD && (n == 4 || n == 16)) {
            memcpy(ip.bytes + 16 - n, ASN1_STRING_get0_data(s), (size_t)n);
            ip_text(&ip, text);
        } else if (g->type == GEN_DNS) {
            snprintf(text, sizeof(text), "%.*s", n, (const char *)ASN1_STRING_get0_data(s));
        } else {
            continue;
        }
        len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? " " : "", text);
    }
    GENERAL_NAMES_free(all);
}

/* --- taking a certificate --- */

static void say_problem(struct registry_cert *c, const char *problem) {
    pthread_mutex_lock(&c->lock);
    snprintf(c->problem, sizeof(c->problem), "%.511s", problem);
    pthread_mutex_unlock(&c->lock);
}

static void use(struct registry_cert *c, const struct pair *p, const struct wire_names *refused) {
    X509 *cert = sk_X509_shift(p->chain);
    SSL_CTX *ctx = tls_context_of(cert, p->chain, p->key);
    if (!ctx) abort(); /* it was checked */
    tls_server_replace(c->tls, ctx);
    pthread_mutex_lock(&c->lock);
    names_of(cert, c->names, sizeof(c->names));
    c->shown_refused = *refused;
    c->problem[0] = '\0';
    pthread_mutex_unlock(&c->lock);
    X509_free(cert);
    node_condition(c->node, CONDITION, NULL);
}

static int check(const struct pair *p, const struct identity *id, struct error *err) {
    X509 *cert = sk_X509_value(p->chain, 0);
    if (!cert || !p->key || X509_check_private_key(cert, p->key) != 1)
        return error_set(err, ERR_INVALID, "the certificate is for another key");
    if (!chain_is_good(cert, p->chain, id->roots))
        return error_set(err, ERR_INVALID, "the certificate was not signed by a root of the fleet");
    return 0;
}

/* --- saving, in the work pool --- */

static int write_pair(struct registry_cert *c) {
    struct buf b;
    buf_init(&b, WIRE_MAX_JOIN);
    pem_add_key(&b, c->fresh.key);
    for (int i = 0; i < sk_X509_num(c->fresh.chain); i++)
        pem_add_cert(&b, sk_X509_value(c->fresh.chain, i));
    int r = identity_write(c->node->config->data, FILE_NAME, b.data, b.len, &c->err);
    OPENSSL_cleanse(b.data, b.len);
    buf_fini(&b);
    return r;
}

static int read_chain(struct registry_cert *c, const struct wire_certificate_response *rs) {
    c->fresh.chain = sk_X509_new_null();
    if (!c->fresh.chain) out_of_memory();
    for (size_t i = 0; i < rs->n_chain; i++) {
        X509 *cert;
        int r = cert_from_der(&cert, rs->chain[i].data, rs->chain[i].len, &c->err);
        if (r < 0) return r;
        if (sk_X509_push(c->fresh.chain, cert) <= 0) out_of_memory();
    }
    return check(&c->fresh, c->id, &c->err);
}

static void save(struct offload *o) {
    struct registry_cert *c = container_of(o, struct registry_cert, work);
    struct wire_certificate_response rs;
    int r = wire_certificate_response_decode(&rs, c->answer.data, c->answer.len);
    if (r < 0) error_set(&c->err, r, "central's answer is not a certificate");
    if (r == 0) r = read_chain(c, &rs);
    if (r == 0) r = write_pair(c);
    (void)r; /* err has it */
    c->refused = rs.refused;
    wire_certificate_response_fini(&rs);
}

/* --- the loop --- */

static void rest(struct registry_cert *c, int64_t ms) {
    c->busy = false;
    pair_fini(&c->fresh);
    timer_set(&c->due, ms);
}

static void failed(struct registry_cert *c) {
    log_warn("registry_certificate_not_renewed", KV_S("why", c->err.msg), KV_S("hint", c->err.hint));
    say_problem(c, c->err.msg);
    if (tls_server_not_after(c->tls) == 0) node_condition(c->node, CONDITION, c->err.msg);
    c->wanted = true;
    c->again_ms = c->again_ms * 2 < AGAIN_MAX_MS ? c->again_ms * 2 : AGAIN_MAX_MS;
    rest(c, c->again_ms);
}

static void on_saved(struct offload *o) {
    struct registry_cert *c = container_of(o, struct registry_cert, work);
    if (c->err.code < 0) {
        failed(c);
        return;
    }
    use(c, &c->fresh, &c->refused);
    char until[CLOCK_DATE_MAX];
    log_info("registry_certificate", KV_S("names", c->names),
             KV_S("good_until", clock_date(tls_server_not_after(c->tls), until)));
    c->again_ms = AGAIN_FIRST_MS / 2;
    c->due_s = clock_wall_s() + (tls_server_not_after(c->tls) - clock_wall_s()) / 2;
    rest(c, 0);
}

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct registry_cert *c = arg;
    const char *refused = a->status == 403 ? a->header(a, REFUSED_HEADER) : NULL;
    if (refused) snprintf(c->why, sizeof(c->why), CENTRAL_REFUSES, refused);
    return true;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct registry_cert *c = arg;
    if (buf_add(&c->answer, data, len) < 0) buf_clear(&c->answer); /* longer than max_body: done says so */
    return true;
}

static void on_done(struct http_call *call, const struct http_result *result, void *arg) {
    (void)call;
    struct registry_cert *c = arg;
    c->call = NULL;
    if (result->code < 0)
        error_set(&c->err, result->code, "%s", result->msg);
    else if (c->why[0])
        error_set(&c->err, ERR_DENIED, "%s", c->why);
    else if (result->status == 404)
        error_set(&c->err, ERR_UNSUPPORTED, "central is too old to give certificates for registry ports");
    else if (result->status != 200)
        error_set(&c->err, ERR_UPSTREAM, "central answers %d: %.*s", result->status,
                  (int)strcspn(c->answer.data ? c->answer.data : "", "\n"), c->answer.data ? c->answer.data : "");
    if (c->err.code < 0) {
        failed(c);
        return;
    }
    c->work.run = save;
    c->work.back = on_saved;
    offload_start(&c->work, c->node->pool, c->node->fetch);
}

static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};

static void make_key(struct offload *o) {
    struct registry_cert *c = container_of(o, struct registry_cert, work);
    struct wire_certificate_request rq = {0};
    c->fresh.key = key_make();
    csr_make(c->fresh.key, &rq.csr.data, &rq.csr.len);
    own_names(c->node, &rq.names);
    int r = wire_certificate_request_encode(&rq, &c->body, &c->body_len);
    if (r < 0) error_set(&c->err, r, "the request for a certificate is too large");
    wire_certificate_request_fini(&rq);
}

static void on_key(struct offload *o) {
    struct registry_cert *c = container_of(o, struct registry_cert, work);
    if (c->err.code < 0) {
        failed(c);
        return;
    }
    const struct uplink_message m = {.path = WIRE_CERTIFICATE_PATH,
                                     .body = c->body,
                                     .len = c->body_len,
                                     .connect_ms = CONNECT_MS,
                                     .total_ms = TOTAL_MS,
                                     .max_answer = WIRE_MAX_JOIN};
    buf_clear(&c->answer);
    c->why[0] = '\0';
    c->call = uplink_send(c->uplink, c->node->client, &m, &events, c);
    free(c->body);
    c->body = NULL;
}

static void on_due(void *arg) {
    struct registry_cert *c = arg;
    c->id = uplink_identity(c->uplink);
    if (c->busy || !c->id) return;
    int64_t left_ms = (c->due_s - clock_wall_s()) * 1000;
    if (left_ms > 0 && !c->wanted) {
        timer_set(&c->due, left_ms < LOOK_MAX_MS ? left_ms : LOOK_MAX_MS);
        return;
    }
    c->busy = true;
    c->wanted = false;
    c->err = (struct error){0};
    c->work.run = make_key;
    c->work.back = on_key;
    offload_start(&c->work, c->node->pool, c->node->fetch);
}

void registry_cert_ask(struct registry_cert *c) {
    c->wanted = true;
    if (!c->busy) timer_set(&c->due, 0);
}

/* --- life --- */

static void load(struct registry_cert *c) {
    const struct identity *id = uplink_identity(c->uplink);
    const struct wire_names none = {0};
    struct pair p = {0};
    struct error err = {0};
    if (!id) {
        say_problem(c, "this edge has not joined a fleet, and registry.tls is fleet: entrepot-edge join TOKEN");
        return;
    }
    int r = identity_read(c->node->config->data, FILE_NAME, &p.key, &p.chain, &err);
    if (r == 0) r = check(&p, id, &err);
    if (r == 0)
        use(c, &p, &none);
    else if (r != ERR_NOT_FOUND)
        log_warn("registry_certificate_unusable", KV_S("why", err.msg), KV_S("then", "central is asked for another"));
    if (r < 0) say_problem(c, "central has not given a certificate yet");
    pair_fini(&p);
}

struct registry_cert *registry_cert_new(struct node *node, struct uplink *uplink) {
    struct registry_cert *c = xcalloc(1, sizeof(*c));
    c->node = node;
    c->uplink = uplink;
    c->again_ms = AGAIN_FIRST_MS / 2;
    pthread_mutex_init(&c->lock, NULL);
    buf_init(&c->answer, WIRE_MAX_JOIN);
    timer_init(&c->due, node->fetch, on_due, c);
    node->registry_tls = c->tls = tls_server_of(tls_context_new());
    load(c);
    if (c->problem[0]) node_condition(node, CONDITION, c->problem);
    return c;
}

void registry_cert_free(struct registry_cert *c) {
    if (!c) return;
    if (c->call) http_call_cancel(c->call);
    timer_fini(&c->due);
    pair_fini(&c->fresh);
    free(c->body);
    buf_fini(&c->answer);
    tls_server_free(c->tls);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

json_t *registry_cert_json(struct registry_cert *c) {
    json_t *names = json_array(), *refused = json_array();
    char copy[sizeof(c->names)], *rest = copy;
    pthread_mutex_lock(&c->lock);
    memcpy(copy, c->names, sizeof(copy));
    for (size_t i = 0; i < c->shown_refused.n; i++)
        if (is_configured(c->node->config, c->shown_refused.list[i]))
            json_array_append_new(refused, json_string(c->shown_refused.list[i]));
    json_t *problem = json_string(c->problem);
    pthread_mutex_unlock(&c->lock);
    for (char *name; (name = strsep(&rest, " "));)
        if (*name) json_array_append_new(names, json_string(name));
    return json_pack("{s:o, s:o, s:I, s:o}", "names", names, "refused", refused, "not_after",
                     (json_int_t)tls_server_not_after(c->tls), "problem", problem);
}
