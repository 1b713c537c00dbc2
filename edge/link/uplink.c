/* Each identity is an immutable value, and all stay until the end: calls may still use an older one, and changes are
 * rare. Thread: as the header says. */
#include "edge/link/uplink.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/version.h"
#include "common/identity/attest.h"
#include "common/identity/trust.h"
#include "common/wire/node_headers.h"
#include "common/wire/wire.h"
#include "edge/link/central.h"

/* What this edge shows on connections to central, and what it trusts there. */
struct papers {
    struct papers *older;
    struct identity id;
    struct trust trust;
    char *chain_pem, *key_pem;
    char roots[48]; /* the header that says which roots this edge trusts */
    const char *headers[4];
    struct http_tls tls;
};

struct address {
    struct address *older;
    char url[];
};

struct uplink {
    _Atomic(struct address *) address;
    _Atomic(struct papers *) papers; /* NULL: this edge has not joined */
    char instance[64], version[96];
    const char *proxy;
    _Atomic int64_t took_ms, took_at_ms;      /* the longest answer of late, and when that was, monotonic */
    void (*changed)(bool renewed, void *arg); /* NULL: nobody is told */
    void *changed_arg;
};

static void set_address(struct uplink *u, const char *url) {
    struct address *a = xmalloc(sizeof(*a) + strlen(url) + 1);
    memcpy(a->url, url, strlen(url) + 1);
    a->older = atomic_load(&u->address);
    atomic_store(&u->address, a);
}

struct uplink *uplink_new(const char *url, const char *proxy) {
    struct uplink *u = xcalloc(1, sizeof(*u));
    u->proxy = proxy;
    uint64_t instance = 0;
    if (RAND_bytes((unsigned char *)&instance, sizeof(instance)) != 1) abort();
    snprintf(u->instance, sizeof(u->instance), INSTANCE_HEADER ": %016" PRIx64, instance | 1);
    snprintf(u->version, sizeof(u->version), VERSION_HEADER ": %.40s", entrepot_version);
    set_address(u, url);
    return u;
}

static void papers_free(struct papers *p) {
    identity_fini(&p->id);
    free(p->chain_pem);
    if (p->key_pem) OPENSSL_cleanse(p->key_pem, strlen(p->key_pem));
    free(p->key_pem);
    free(p);
}

void uplink_free(struct uplink *u) {
    if (!u) return;
    for (struct papers *p = atomic_load(&u->papers), *older; p; p = older) {
        older = p->older;
        papers_free(p);
    }
    for (struct address *a = atomic_load(&u->address), *older; a; a = older) {
        older = a->older;
        free(a);
    }
    free(u);
}

const char *uplink_url(const struct uplink *u) {
    return atomic_load_explicit(&((struct uplink *)(uintptr_t)u)->address, memory_order_acquire)->url;
}

static struct papers *current(const struct uplink *u) {
    return atomic_load_explicit(&((struct uplink *)(uintptr_t)u)->papers, memory_order_acquire);
}

const struct http_tls *uplink_tls(const struct uplink *u) {
    const struct papers *p = current(u);
    return p ? &p->tls : NULL;
}

const struct identity *uplink_identity(const struct uplink *u) {
    const struct papers *p = current(u);
    return p ? &p->id : NULL;
}

static void prepare(SSL_CTX *ctx, void *arg) {
    trust_apply(arg, ctx);
}

static const char *why(void *arg) {
    return ((const struct trust *)arg)->why;
}

void uplink_use(struct uplink *u, struct identity *id, const char *url) {
    struct papers *p = xcalloc(1, sizeof(*p));
    p->id = *id;
    *id = (struct identity){0};
    p->trust.roots = p->id.roots;
    memcpy(p->trust.fleet, p->id.who.fleet, sizeof(p->trust.fleet));
    identity_pem(&p->id, &p->chain_pem, &p->key_pem);
    snprintf(p->roots, sizeof(p->roots), ROOTS_HEADER ": %016" PRIx64, roots_mark(p->id.roots));
    p->headers[0] = u->instance;
    p->headers[1] = u->version;
    p->headers[2] = p->roots;
    p->tls = (struct http_tls){.cert_pem = p->chain_pem,
                               .key_pem = p->key_pem,
                               .headers = p->headers,
                               .prepare = prepare,
                               .why = why,
                               .arg = &p->trust};
    p->older = current(u);
    if (url && strcmp(url, uplink_url(u)) != 0) set_address(u, url);
    atomic_store_explicit(&u->papers, p, memory_order_release);
    if (u->changed) u->changed(!url, u->changed_arg);
}

void uplink_move(struct uplink *u, const char *url) {
    set_address(u, url);
    if (u->changed) u->changed(false, u->changed_arg);
}

void uplink_on_change(struct uplink *u, void (*fn)(bool renewed, void *arg), void *arg) {
    u->changed = fn;
    u->changed_arg = arg;
}

/* --- how long the road is --- */

/* A new connection takes two or three round trips until its answer comes, and a lost packet another. */
#define ALLOWED_TRIPS 4
#define ALLOWED_MAX_MS 12000
/* So long a road is assumed of an edge that has joined, until it has heard of its own. */
#define UNKNOWN_MS 750
/* What was heard counts half after so long, since a full line empties. */
#define HALVES_MS 8000

static int64_t of_late(const struct uplink *u, int64_t now) {
    struct uplink *w = (struct uplink *)(uintptr_t)u;
    int64_t at_ms = atomic_load_explicit(&w->took_at_ms, memory_order_relaxed);
    if (at_ms == 0) return current(u) ? UNKNOWN_MS : 0;
    int64_t halves = (now - at_ms) / HALVES_MS;
    return halves < 32 ? atomic_load_explicit(&w->took_ms, memory_order_relaxed) >> halves : 0;
}

/* Two threads at once may lose one of two values: the next comes within a second. */
void uplink_took(const struct uplink *u, int64_t ms) {
    struct uplink *w = (struct uplink *)(uintptr_t)u;
    int64_t now = clock_mono_ms();
    if (atomic_load_explicit(&w->took_at_ms, memory_order_relaxed) != 0 && ms < of_late(u, now)) return;
    atomic_store_explicit(&w->took_ms, ms, memory_order_relaxed);
    atomic_store_explicit(&w->took_at_ms, now, memory_order_relaxed);
}

int64_t uplink_allowance_ms(const struct uplink *u) {
    int64_t ms = ALLOWED_TRIPS * of_late(u, clock_mono_ms());
    return ms < ALLOWED_MAX_MS ? ms : ALLOWED_MAX_MS;
}

/* 0 stays 0, which means a default or no limit. */
static int64_t allow(int64_t ms, int64_t allowance_ms) {
    return ms > 0 ? ms + allowance_ms : 0;
}

/* --- calls --- */

void uplink_secure(const struct uplink *u, struct http_call_spec *spec) {
    spec->connect_ms = allow(spec->connect_ms, uplink_allowance_ms(u));
    spec->tls = uplink_tls(u);
    bool here = central_is_loopback(uplink_url(u));
    spec->insecure_tls = !spec->tls && here;
    bool far = spec->tls && !here; /* the end of a tunnel on this machine is no address for a proxy */
    spec->proxy = far ? u->proxy : NULL;
    spec->use_proxy_env = far;
}

struct http_call *uplink_send(const struct uplink *u, struct http_client *client, const struct uplink_message *m,
                              const struct http_call_events *ev, void *arg) {
    static const char *const headers[] = {"Content-Type: " WIRE_CONTENT_TYPE, NULL};
    char url[1024];
    snprintf(url, sizeof(url), "%s%s%s", uplink_url(u), m->path, m->query ? m->query : "");
    int64_t more = uplink_allowance_ms(u);
    struct http_call_spec spec = {.method = m->body ? "POST" : "GET",
                                  .url = url,
                                  .headers = m->body ? headers : NULL,
                                  .body = m->body,
                                  .body_len = m->len,
                                  .in_turn = m->in_turn,
                                  .connect_ms = m->connect_ms,
                                  .head_ms = allow(m->head_ms ? m->head_ms : m->total_ms, more),
                                  .total_ms = allow(m->total_ms, more),
                                  .stall_ms = allow(m->stall_ms, more),
                                  .max_body = (int64_t)m->max_answer};
    uplink_secure(u, &spec);
    return http_call_start(client, &spec, ev, arg);
}
