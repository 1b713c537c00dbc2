/* A request: made, given an id, seen by its handler, reported and freed. Its body is in request_body.c, its answer in
 * reply.c. Thread: the connection's serving loop. */
#include "common/http/server_private.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"

#include <string.h>
#include <strings.h>
#include <sys/random.h>

struct http_req *req_new(struct http_conn *c) {
    struct loop_share *sh = c->share;
    struct http_req *r = sh->free_reqs;
    if (r) {
        sh->free_reqs = r->next_free;
        sh->n_free_reqs--;
        struct buf extra = r->extra;
        buf_clear(&extra);
        memset(r, 0, offsetof(struct http_req, head));
        memset((char *)r + offsetof(struct http_req, id), 0, sizeof(*r) - offsetof(struct http_req, id));
        r->extra = extra;
    } else {
        r = xcalloc(1, sizeof(*r));
        buf_init(&r->extra, 64 * 1024);
    }
    r->conn = c;
    r->note = r->about = "";
    r->start_us = clock_mono_us();
    return r;
}

void req_free(struct loop_share *sh, struct http_req *r) {
    buf_fini(&r->collected);
    for (struct joined *j = r->joined, *next; j; j = next) {
        next = j->next;
        free(j);
    }
    r->joined = NULL;
    free(r->spill);
    if (sh->n_free_reqs >= 1024 || r->extra.cap > 4096) {
        buf_fini(&r->extra);
        free(r);
        return;
    }
    r->next_free = sh->free_reqs;
    sh->free_reqs = r;
    sh->n_free_reqs++;
}

/* Takes a client's id if it is short and harmless in a log. */
static bool take_id(struct http_req *r, const char *id) {
    size_t n = 0;
    for (; id[n]; n++) {
        char ch = id[n];
        bool ok = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || strchr("._-", ch);
        if (!ok || n >= 64) return false;
    }
    if (n == 0) return false;
    memcpy(r->id, id, n + 1);
    return true;
}

/* Random once a thread, then counted. */
void req_make_id(char id[65]) {
    static _Thread_local uint64_t next;
    if (!next && getrandom(&next, sizeof(next), 0) != (ssize_t)sizeof(next)) next = (uint64_t)clock_mono_us();
    uint64_t v = next += 0x9e3779b97f4a7c15ULL;
    v ^= v >> 32;
    v *= 0xd6e8feb86659fd93ULL;
    v ^= v >> 32;
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++)
        id[i] = hex[v >> (60 - 4 * i) & 15];
    id[16] = '\0';
}

void req_set_id(struct http_req *r) {
    const struct head_field *id = head_find(&r->head, r->conn->in, "x-request-id");
    if (!id || !take_id(r, r->conn->in + id->value)) req_make_id(r->id);
}

void req_report(struct http_req *r, bool cut) {
    struct http_conn *c = r->conn;
    const struct http_server_config *cfg = &c->share->server->cfg;
    if (!cfg->access) return;
    const char *host = http_req_header(r, "host"), *agent = http_req_header(r, "user-agent");
    struct http_access a = {
        .remote = r->remote[0] ? r->remote : c->remote,
        .method = r->conn->in + r->head.method_at,
        .target = http_req_target(r),
        .host = host ? host : "",
        .user_agent = agent ? agent : "",
        .request_id = r->id,
        .note = r->note,
        .about = r->about,
        .status = r->status,
        .body_bytes_sent = r->body_sent - (cut ? c->out_bytes : 0),
        .body_bytes_received = r->body_got,
        .duration_us = clock_mono_us() - r->start_us,
        .first_byte_us = r->first_byte_us ? r->first_byte_us - r->start_us : 0,
        .aborted = cut,
    };
    if (a.body_bytes_sent < 0) a.body_bytes_sent = 0;
    cfg->access(&a, cfg->arg);
}

/* --- the request, as its handler sees it --- */

enum http_method http_req_method(const struct http_req *r) {
    return r->head.method;
}

const char *http_req_target(const struct http_req *r) {
    return r->conn->in + r->head.target_at;
}

static bool same_name(const struct http_req *r, const struct head_field *a, const struct head_field *b) {
    return a->name_len == b->name_len && strcasecmp(r->conn->in + a->name, r->conn->in + b->name) == 0;
}

/* The values of all fields of that name, joined. This is rare, so it may allocate. */
static const char *joined(struct http_req *r, const struct head_field *first) {
    for (struct joined *j = r->joined; j; j = j->next) {
        if (j->first == first) return j->text;
    }
    const struct head_field *end = r->head.fields + r->head.n_fields;
    size_t room = 1;
    for (const struct head_field *f = first; f < end; f++)
        room += f->value_len + 2;
    struct joined *j = xmalloc(sizeof(*j) + room);
    char *to = j->text;
    for (const struct head_field *f = first; f < end; f++) {
        if (!same_name(r, f, first)) continue;
        if (f != first) to = mempcpy(to, ", ", 2);
        to = mempcpy(to, r->conn->in + f->value, f->value_len);
    }
    *to = '\0';
    j->first = first;
    j->next = r->joined;
    r->joined = j;
    return j->text;
}

const char *http_req_header(const struct http_req *r, const char *name) {
    const struct head_field *f = head_find(&r->head, r->conn->in, name);
    if (!f) return NULL;
    for (const struct head_field *more = f + 1; more < r->head.fields + r->head.n_fields; more++) {
        if (same_name(r, more, f)) return joined((struct http_req *)(uintptr_t)r, f);
    }
    return r->conn->in + f->value;
}

bool http_req_is_tls(const struct http_req *r) {
    return r->conn->ssl != NULL;
}

const struct http_peer *http_req_certified(const struct http_req *r) {
    return r->conn->peer;
}

bool http_req_peer(const struct http_req *r, struct ip *out) {
    if (r->conn->has_ip) *out = r->conn->ip;
    return r->conn->has_ip;
}

void http_req_asked_by(struct http_req *r, uint64_t whose) {
    r->conn->whose = whose;
}

void http_req_set_remote(struct http_req *r, const struct ip *client) {
    ip_text(client, r->remote);
}

int64_t http_req_began_ms(const struct http_req *r) {
    return r->start_us / 1000;
}

const char *http_req_id(const struct http_req *r) {
    return r->id;
}

struct loop *http_req_loop(const struct http_req *r) {
    return r->conn->share->loop;
}

void http_req_note(struct http_req *r, const char *note) {
    r->note = note;
}

void http_req_about(struct http_req *r, const char *about) {
    r->about = about;
}

void http_req_answer_is_held(struct http_req *r) {
    r->answer_is_held = true;
}

void http_req_set_user(struct http_req *r, void *user) {
    r->user = user;
}

void *http_req_user(const struct http_req *r) {
    return r->user;
}

void http_req_on_stop(struct http_req *r, void (*fn)(struct http_req *r)) {
    if (r->conn->share->draining)
        fn(r);
    else
        r->on_stop = fn;
}

void http_req_on_close(struct http_req *r, void (*fn)(struct http_req *r, bool cut)) {
    r->on_close = fn;
}
