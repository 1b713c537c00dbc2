/* Fetching and keeping tokens. Thread: the fetch loop.
 *
 *   (no entry) ── token_fetch ──▶ fetching ── answer ──▶ held until it is nearly over, or dropped
 *                                    └── failure, or nobody waits any more ──▶ (no entry) */
#include "common/upstream/token.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/upstream/redirect.h"
#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/core/clock.h"
#include "common/core/map.h"
#include "common/source/registry_http.h"

#define ENTRIES_MAX 1024
#define CONNECT_MS 4000
#define TOTAL_MS 10000
#define LIFE_DEFAULT_S 60 /* the specification's, when none is given */
#define LIFE_MAX_S 86400
#define EARLY_MAX_MS 30000 /* renewed so long before its end, or a quarter of its life */

struct token_wait {
    struct token_entry *entry;
    void (*done)(const char *token, const struct fetch_end *end, void *arg);
    void *arg;
    struct token_wait *next, **link;
};

/* Whom a fetch asks, kept to ask again where a redirect leads. */
struct service {
    char *url, *ca_file, *username, *password; /* all but url may be NULL */
    char host[300];                            /* for messages */
    char id[96];                               /* the header, or "" */
    enum http_reach reach;
};

struct token_entry {
    struct token_cache *cache;
    char *key;
    size_t key_len;
    char *token; /* NULL: none yet */
    int64_t good_until_ms;
    struct http_call *call;
    struct token_wait *waits;
    struct service service;
    int status;
    int64_t retry_after_s;
    char *location;     /* where the answer redirects to, or NULL */
    unsigned redirects; /* followed for this fetch */
    struct buf body;
    struct token_entry *next, *prev; /* newest first */
};

struct token_cache {
    struct http_client *client;
    struct map *map;
    struct token_entry *newest, *oldest;
    unsigned n;
    int64_t fetches;
};

static void service_clear(struct service *s) {
    free(s->url);
    free(s->ca_file);
    free(s->username);
    free(s->password);
    *s = (struct service){0};
}

static void entry_free(struct token_entry *e) {
    struct token_cache *c = e->cache;
    *(e->prev ? &e->prev->next : &c->newest) = e->next;
    *(e->next ? &e->next->prev : &c->oldest) = e->prev;
    c->n--;
    map_take(c->map, e->key, e->key_len);
    if (e->call) http_call_cancel(e->call);
    service_clear(&e->service);
    buf_fini(&e->body);
    free(e->location);
    free(e->token);
    free(e->key);
    free(e);
}

/* The four parts with NULs between: none can hold one. */
static int key_of(struct buf *key, const struct token_ask *ask) {
    buf_init(key, 65536);
    const char *parts[] = {ask->realm, ask->service, ask->scope, ask->username ? ask->username : ""};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        int r = buf_add(key, parts[i], strlen(parts[i]) + 1);
        if (r < 0) return r;
    }
    return 0;
}

static struct token_entry *find(struct token_cache *c, const struct token_ask *ask) {
    struct buf key;
    struct token_entry *e = key_of(&key, ask) == 0 ? map_get(c->map, key.data, key.len) : NULL;
    buf_fini(&key);
    return e;
}

/* Room for one more: the oldest that nobody waits for goes. */
static void make_room(struct token_cache *c) {
    if (c->n < ENTRIES_MAX) return;
    for (struct token_entry *e = c->oldest; e; e = e->prev) {
        if (e->call) continue;
        entry_free(e);
        return;
    }
}

static struct token_entry *entry_new(struct token_cache *c, const struct token_ask *ask) {
    make_room(c);
    struct token_entry *e = xcalloc(1, sizeof(*e));
    struct buf key;
    if (key_of(&key, ask) < 0) out_of_memory(); /* parts are bounded: a challenge's, a configured name's */
    e->cache = c;
    e->key = buf_steal(&key, &e->key_len);
    buf_init(&e->body, TOKEN_BODY_MAX);
    e->next = c->newest;
    *(e->next ? &e->next->prev : &c->oldest) = e;
    c->newest = e;
    c->n++;
    map_set(c->map, e->key, e->key_len, e);
    return e;
}

static bool is_good(const struct token_entry *e) {
    return e->token && clock_mono_ms() < e->good_until_ms;
}

const char *token_held(struct token_cache *c, const struct token_ask *ask) {
    struct token_entry *e = find(c, ask);
    return e && is_good(e) ? e->token : NULL;
}

void token_drop(struct token_cache *c, const struct token_ask *ask, const char *token) {
    struct token_entry *e = find(c, ask);
    if (e && e->token && !e->call && strcmp(e->token, token) == 0) entry_free(e);
}

/* --- the answer --- */

/* The fetch is over: tells all who wait now; who joins meanwhile starts another. */
static void tell(struct token_entry *e, const struct fetch_end *end) {
    struct token_wait *waits = e->waits;
    if (waits) waits->link = &waits;
    for (struct token_wait *w = waits; w; w = w->next)
        w->entry = NULL;
    e->waits = NULL;
    e->call = NULL;
    service_clear(&e->service);
    buf_clear(&e->body);
    /* A copy: a callback may drop the entry. */
    char *token = end->code == 0 ? xstrdup(e->token) : NULL;
    if (!e->token) entry_free(e);
    while (waits) {
        struct token_wait *w = waits;
        waits = w->next;
        if (waits) waits->link = &waits;
        w->done(token, end, w->arg);
        free(w);
    }
    free(token);
}

static bool token_is_clean(const char *s) {
    size_t n = strlen(s);
    if (n == 0 || n > TOKEN_MAX) return false;
    for (; *s; s++) {
        if (*s <= 0x20 || *s >= 0x7f) return false;
    }
    return true;
}

static const char *nonempty(const json_t *doc, const char *field) {
    const char *s = json_string_value(json_object_get(doc, field));
    return s && s[0] ? s : NULL;
}

/* Milliseconds that a token of this document is good for, less the time it is renewed before its end. */
static int64_t life_of(const json_t *doc) {
    const json_t *field = json_object_get(doc, "expires_in");
    double told = json_is_number(field) ? json_number_value(field) : LIFE_DEFAULT_S;
    int64_t life = told < 1 ? LIFE_DEFAULT_S : told > LIFE_MAX_S ? LIFE_MAX_S : (int64_t)told;
    int64_t early = life * 1000 / 4 < EARLY_MAX_MS ? life * 1000 / 4 : EARLY_MAX_MS;
    return life * 1000 - early;
}

/* Takes token and life from the document. */
static int take_document(struct token_entry *e, struct fetch_end *end) {
    json_t *doc = json_loadb(e->body.data ? e->body.data : "", e->body.len, 0, NULL);
    const char *token = nonempty(doc, "token");
    if (!token) token = nonempty(doc, "access_token");
    int r = 0;
    if (!token || !token_is_clean(token)) {
        r = fetch_end_set(end, ERR_UPSTREAM, "the token service at %.120s sent %s", e->service.host,
                          token ? "a token that is too long or has characters that no token may have" : "no token");
    } else {
        e->good_until_ms = clock_mono_ms() + life_of(doc);
        free(e->token);
        e->token = xstrdup(token);
    }
    json_decref(doc);
    return r;
}

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct token_entry *e = arg;
    const char *location = a->header(a, "location");
    e->retry_after_s = answer_retry_after_s(a);
    e->status = a->status;
    free(e->location);
    e->location = xstrdup_or_null(location);
    return true;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct token_entry *e = arg;
    if (buf_add(&e->body, data, len) < 0) return true; /* the call's own limit ends it */
    return true;
}

static void send_request(struct token_entry *e);

/* Asks where the answer redirects to. Only the registry names its token service: another host is not asked, with or
 * without the account. */
static int follow(struct token_entry *e, struct fetch_end *end) {
    struct error err;
    struct redirect to = {0};
    int r = e->redirects++ < REDIRECTS_MAX ? redirect_follow(e->service.url, e->location, &to, &err)
                                           : error_set(&err, ERR_UPSTREAM, "redirects too often");
    if (r == 0 && !to.same_origin && !to.upgraded)
        r = error_set(&err, ERR_UPSTREAM, "redirects to another host, which is not followed");
    if (r < 0) {
        free(to.url);
        return fetch_end_set(end, r, "the token service at %.120s %.120s", e->service.host, err.msg);
    }
    free(e->service.url);
    e->service.url = to.url;
    buf_clear(&e->body);
    send_request(e);
    return 0;
}

/* What came with the head and body of an answer. 1: asked again elsewhere, nobody is to be told yet. */
static int take_answer(struct token_entry *e, struct fetch_end *end) {
    if (redirect_is(e->status) && e->location) return follow(e, end) < 0 ? end->code : 1;
    if (e->status >= 200 && e->status < 300) return take_document(e, end);
    char who[360];
    snprintf(who, sizeof(who), "the token service at %.200s", e->service.host);
    fetch_end_from_status(end, who, e->status, e->retry_after_s, e->body.data, e->body.len);
    /* A service that does not know its own realm says nothing about the content asked for. */
    if (end->code == ERR_NOT_FOUND) end->code = ERR_UPSTREAM;
    return end->code;
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    struct token_entry *e = arg;
    struct fetch_end end = {0};
    if (r->code == 0) {
        if (take_answer(e, &end) == 1) return;
    } else {
        /* An address it may not name is the other side's fault, not a lack of rights. */
        fetch_end_set(&end, r->code == ERR_DENIED || r->code == ERR_INVALID ? ERR_UPSTREAM : r->code,
                      "token service: %.220s", r->msg);
    }
    if (end.code != 0) {
        free(e->token);
        e->token = NULL;
    }
    tell(e, &end);
}

static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};

/* --- the request --- */

static int add_query(struct buf *url, const char *name, const char *value, size_t len) {
    int r = buf_printf(url, "%s%s=", url->len && strchr(url->data, '?') ? "&" : "?", name);
    for (size_t i = 0; i < len && r == 0; i++) {
        unsigned char c = (unsigned char)value[i];
        r = isalnum(c) || strchr("-._~", c) ? buf_add(url, &value[i], 1) : buf_printf(url, "%%%02X", c);
    }
    return r;
}

static int token_url(struct buf *url, const struct token_ask *ask) {
    buf_init(url, 16384);
    int r = buf_add_str(url, ask->realm);
    if (r == 0 && ask->service[0]) r = add_query(url, "service", ask->service, strlen(ask->service));
    for (const char *p = ask->scope; *p && r == 0;) {
        size_t n = strcspn(p, " ");
        if (n) r = add_query(url, "scope", p, n);
        p += n + strspn(p + n, " ");
    }
    return r;
}

static void send_request(struct token_entry *e) {
    const struct service *to = &e->service;
    struct http_url parts;
    bool parsed = http_url_parse(to->url, &parts);
    snprintf(e->service.host, sizeof(to->host), "%s", parsed ? parts.host : "an unusable address");
    const char *headers[] = {to->id[0] ? to->id : NULL, NULL};
    struct http_call_spec spec = {.method = "GET",
                                  .url = to->url,
                                  .headers = headers,
                                  .ca_file = to->ca_file,
                                  .username = to->username,
                                  .password = to->password,
                                  .reach = to->reach,
                                  .use_proxy_env = true,
                                  .connect_ms = CONNECT_MS,
                                  .head_ms = TOTAL_MS,
                                  .total_ms = TOTAL_MS,
                                  .max_body = TOKEN_BODY_MAX};
    e->cache->fetches++;
    e->call = http_call_start(e->cache->client, &spec, &events, e);
}

static void start(struct token_entry *e, const struct token_ask *ask) {
    struct buf url;
    bool ok = token_url(&url, ask) == 0;
    e->redirects = 0;
    e->service = (struct service){.url = xstrdup(ok ? url.data : ""),
                                  .ca_file = xstrdup_or_null(ask->ca_file),
                                  .username = xstrdup_or_null(ask->username),
                                  .password = xstrdup_or_null(ask->password),
                                  .reach = ask->reach};
    if (ask->request_id && ask->request_id[0])
        snprintf(e->service.id, sizeof(e->service.id), "X-Request-Id: %.64s", ask->request_id);
    buf_fini(&url);
    send_request(e);
}

struct token_wait *token_fetch(struct token_cache *c, const struct token_ask *ask,
                               void (*done)(const char *token, const struct fetch_end *end, void *arg), void *arg) {
    struct token_wait *w = xcalloc(1, sizeof(*w));
    struct token_entry *e = find(c, ask);
    if (!e) e = entry_new(c, ask);
    *w = (struct token_wait){.entry = e, .done = done, .arg = arg, .next = e->waits, .link = &e->waits};
    if (w->next) w->next->link = &w->next;
    e->waits = w;
    if (!e->call) start(e, ask);
    return w;
}

void token_wait_cancel(struct token_wait *w) {
    struct token_entry *e = w->entry;
    *w->link = w->next;
    if (w->next) w->next->link = w->link;
    free(w);
    if (!e || e->waits) return;
    http_call_cancel(e->call);
    e->call = NULL;
    service_clear(&e->service);
    buf_clear(&e->body);
    if (!e->token) entry_free(e);
}

int64_t token_fetches(const struct token_cache *c) {
    return c->fetches;
}

struct token_cache *token_cache_new(struct http_client *client) {
    struct token_cache *c = xcalloc(1, sizeof(*c));
    c->client = client;
    c->map = map_new(NULL);
    return c;
}

void token_cache_free(struct token_cache *c) {
    if (!c) return;
    for (struct token_entry *e = c->newest, *next; e; e = next) {
        next = e->next;
        entry_free(e);
    }
    map_free(c->map);
    free(c);
}
