/* Central's settings as this edge knows them. Each version is an immutable value behind an atomic pointer. Old versions
 * stay until the end, because readers hold no references and changes are rare. Thread: as the header says. */
#include "edge/link/settings.h"

#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/core/sealed.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* The file is a message as central sends it, sealed: one flipped bit in a name would make the edge refuse content that it
 * holds. */

struct version {
    struct wire_settings ws;
    struct name_rules rules;
    const char **upstreams, **own;
    struct version *older;
};

struct settings {
    char path[4096];
    struct settings_own own;
    _Atomic(struct version *) current;
};

static struct version *version_new(struct settings *s, struct wire_settings *ws) {
    struct version *v = xcalloc(1, sizeof(*v));
    v->ws = *ws;
    memset(ws, 0, sizeof(*ws));
    v->upstreams = xcalloc(v->ws.n_upstreams, sizeof(*v->upstreams));
    for (size_t i = 0; i < v->ws.n_upstreams; i++)
        v->upstreams[i] = v->ws.upstreams[i].name;
    size_t n_own = v->ws.n_own_names + s->own.n_names;
    v->own = xcalloc(n_own, sizeof(*v->own));
    for (size_t i = 0; i < v->ws.n_own_names; i++)
        v->own[i] = v->ws.own_names[i];
    for (size_t i = 0; i < s->own.n_names; i++)
        v->own[v->ws.n_own_names + i] = s->own.names[i];
    v->rules = (struct name_rules){
        .upstreams = v->upstreams,
        .n_upstreams = v->ws.n_upstreams,
        .default_upstream = v->ws.default_upstream,
        .hosted = (const char *const *)v->ws.hosted,
        .n_hosted = v->ws.n_hosted,
        .own_names = v->own,
        .n_own_names = n_own,
        .addresses = (const char *const *)s->own.addresses,
        .n_addresses = s->own.n_addresses,
        .version = v->ws.version,
    };
    return v;
}

static void adopt(struct settings *s, struct wire_settings *ws) {
    struct version *v = version_new(s, ws);
    v->older = atomic_load_explicit(&s->current, memory_order_relaxed);
    atomic_store_explicit(&s->current, v, memory_order_release);
}

static bool load(struct settings *s) {
    char *data;
    size_t len;
    struct error err = {0};
    struct wire_response rs = {0};
    int r = sealed_read(s->path, WIRE_MAX_RESPONSE, &data, &len, &err);
    if (r == -ENOENT) return false;
    if (r == 0) {
        r = wire_response_decode(&rs, data, len, &err);
        free(data);
    }
    bool good = r == 0 && rs.settings && rs.settings->version != 0;
    if (good)
        adopt(s, rs.settings);
    else
        log_warn("settings_unreadable", KV_S("path", s->path), KV_S("why", err.msg));
    wire_response_fini(&rs);
    return good;
}

struct settings *settings_new(const char *data, const struct settings_own *own) {
    struct settings *s = xcalloc(1, sizeof(*s));
    snprintf(s->path, sizeof(s->path), "%s/settings.pb", data);
    s->own = *own;
    /* Without settings every name is undecided. If the edge assumed a meaning, an image of a public registry could be
     * served under the name of a hosted one. */
    if (!load(s)) adopt(s, &(struct wire_settings){0});
    return s;
}

void settings_free(struct settings *s) {
    if (!s) return;
    for (struct version *v = atomic_load(&s->current), *older; v; v = older) {
        older = v->older;
        wire_settings_fini(&v->ws);
        free(v->upstreams);
        free(v->own);
        free(v);
    }
    free(s);
}

static void save(const struct settings *s, struct wire_settings *ws) {
    struct wire_response rs = {.version = WIRE_VERSION, .settings = ws};
    _cleanup_(freep) uint8_t *message = NULL;
    size_t len;
    struct error err = {0};
    int r = wire_response_encode(&rs, &message, &len, &err);
    if (r == 0) r = sealed_write(s->path, message, len, &err);
    if (r < 0) log_warn("settings_not_saved", KV_S("why", err.msg));
}

void settings_apply(struct settings *s, struct wire_settings *ws) {
    save(s, ws);
    log_info("settings_from_central", KV_I("upstreams", ws->n_upstreams), KV_I("version", ws->version));
    adopt(s, ws);
}

static const struct version *current(const struct settings *s) {
    return atomic_load_explicit(&s->current, memory_order_acquire);
}

uint64_t settings_version(const struct settings *s) {
    return current(s)->ws.version;
}

bool settings_known(const struct settings *s) {
    return settings_version(s) != 0;
}

const struct name_rules *settings_rules(const struct settings *s) {
    return &current(s)->rules;
}

static const struct wire_upstream *find_upstream(const struct settings *s, const char *name) {
    const struct version *v = current(s);
    for (size_t i = 0; i < v->ws.n_upstreams; i++)
        if (strcmp(v->ws.upstreams[i].name, name) == 0) return &v->ws.upstreams[i];
    return NULL;
}

bool settings_upstream(const struct settings *s, const char *name, int64_t *fresh_for_ms, bool *per_repository) {
    const struct wire_upstream *u = find_upstream(s, name);
    if (!u) return false;
    *fresh_for_ms = u->fresh_for_ms;
    *per_repository = u->per_repository;
    return true;
}

size_t settings_endpoints(const struct settings *s, const char *name, char ***urls) {
    const struct wire_upstream *u = find_upstream(s, name);
    *urls = u ? u->endpoints : NULL;
    return u ? u->n_endpoints : 0;
}
