/* A pull: the manifest, for an index those of the wanted platforms, then their blobs, four downloads at a time.
 * Thread: main, and its download threads, which share struct pull under its lock. */
#include "common/cli/puller.h"

#include "common/core/printable.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/json.h"
#include "common/core/map.h"
#include "common/cli/print.h"
#include "common/oci/manifest.h"
#include "common/oci/name.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

enum { WORKERS = 4, STALL_S = 60, DEPTH_MAX = 3, BLOBS_MAX = 100000, PLATFORM_MAX = 90 };
#define CONFIG_MAX_BYTES (4 * 1024 * 1024) /* no image's config is larger */

struct wanted {
    struct digest digest;
    int64_t size;
};

struct pull {
    const struct pull_options *o;
    char name[3 * REPO_STR_MAX]; /* as in a URL */
    struct map *seen;            /* digests in blobs */
    struct wanted *blobs;
    size_t n_blobs;
    int64_t total;
    pthread_mutex_t lock; /* all below, while downloads run */
    size_t next;
    int64_t got;
    struct pull_result *out;
    struct error *err;
    int code;
};

static int open_control(const struct pull_options *o, struct control **out, struct error *err) {
    return o->base ? control_open_url(out, o->node, o->base, o->insecure, err) : control_open(out, o->node, err);
}

bool pull_cache_status(const char *header, char source[128]) {
    const char *p = strstr(header, "detail=\"");
    snprintf(source, 128, "%s", *header ? "source" : "unknown");
    if (strstr(header, "; hit")) {
        snprintf(source, 128, "store");
    } else if (p) {
        p += 8;
        snprintf(source, 128, "%.*s", (int)(strcspn(p, "\"") < 127 ? strcspn(p, "\"") : 127), p);
    }
    text_make_printable(source);
    return strstr(header, "; collapsed") != NULL;
}

/* Under lock while downloads run. */
static void count(struct pull *p, const struct control_answer *a, int64_t bytes) {
    char name[128];
    bool joined = pull_cache_status(a->cache_status, name);
    struct pull_result *out = p->out;
    size_t i = 0;
    while (i < out->n_sources && (strcmp(out->sources[i].source, name) != 0 || (out->sources[i].joined > 0) != joined))
        i++;
    if (i == PULL_SOURCES_MAX) i--;
    if (i == out->n_sources) snprintf(out->sources[out->n_sources++].source, 128, "%s", name);
    out->sources[i].bytes += bytes;
    out->sources[i].objects++;
    out->sources[i].joined += joined;
    out->bytes += bytes;
}

/* --- manifests --- */
static bool collect(const void *data, size_t len, void *arg) {
    return buf_add(arg, data, len) == 0;
}

/* Adds what to try. */
static int other_bytes(const struct pull *p, const struct control_answer *a, struct error *err) {
    char source[128];
    pull_cache_status(a->cache_status, source);
    bool held = strcmp(source, "store") == 0;
    error_hint(err,
               held ? "it has rotted on this node's disk: `%s verify` puts it aside, and it is fetched anew"
                    : "pull again; if it stays so, `%s doctor` and the log say more of where it comes from",
               p->o->node->program);
    return ERR_MISMATCH;
}

/* Checks a body against what was asked (expected, may be NULL) and what the node says it is. */
static int check_manifest(const struct pull *p, const struct buf *body, const struct digest *expected,
                          const struct control_answer *a, struct digest *actual, struct error *err) {
    struct digest said;
    bool has_said = digest_parse(&said, a->digest, strlen(a->digest)) == 0;
    enum digest_alg alg = expected ? expected->alg : has_said ? said.alg : DIGEST_SHA256;
    char want[DIGEST_STR_MAX], got[DIGEST_STR_MAX];
    digest_of(actual, alg, body->data ? body->data : "", body->len);
    const struct digest *bad = expected && !digest_eq(expected, actual)                   ? expected
                               : has_said && said.alg == alg && !digest_eq(&said, actual) ? &said
                                                                                          : NULL;
    if (!bad) return 0;
    error_set(err, ERR_MISMATCH, "the manifest %s came with other bytes: %s", digest_str(bad, want),
              digest_str(actual, got));
    return other_bytes(p, a, err);
}

static int get_manifest(struct pull *p, struct control *c, const char *ref, const struct wanted *expected,
                        struct manifest *m, struct digest *actual, struct error *err) {
    char path[4 * REPO_STR_MAX];
    snprintf(path, sizeof(path), "/v2/%s/manifests/%s", p->name, ref);
    struct buf body;
    buf_init(&body, MANIFEST_MAX_BYTES);
    struct control_request rq = {.method = "GET",
                                 .path = path,
                                 .accept = MANIFEST_ACCEPT,
                                 .max_body = MANIFEST_MAX_BYTES,
                                 .stall_s = STALL_S,
                                 .data = collect,
                                 .arg = &body};
    struct control_answer a;
    int r = control_ask(c, &rq, &a, err);
    if (r == 0) r = check_manifest(p, &body, expected ? &expected->digest : NULL, &a, actual, err);
    if (r == 0 && expected && expected->size >= 0 && expected->size != (int64_t)body.len) {
        r = error_set(err, ERR_MISMATCH, "the manifest has %zu bytes, its index promised %lld", body.len,
                      (long long)expected->size);
    }
    if (r == 0) r = manifest_parse(m, body.data ? body.data : "", body.len, err);
    if (r == 0) {
        count(p, &a, (int64_t)body.len);
        if (!p->out->warning[0]) snprintf(p->out->warning, sizeof(p->out->warning), "%s", a.warning);
    }
    buf_fini(&body);
    return r < 0 && err->code == 0 ? error_set(err, r, "manifest %s: %s", ref, error_name(r)) : r;
}

static int want_blob(struct pull *p, const struct manifest_child *child, struct error *err) {
    if (child->foreign) return 0;
    if (map_get(p->seen, &child->digest, sizeof(child->digest))) return 0;
    map_set(p->seen, &child->digest, sizeof(child->digest), p);
    if (p->n_blobs == BLOBS_MAX) return error_set(err, ERR_TOO_BIG, "more than %d blobs", BLOBS_MAX);
    struct wanted *more = xrealloc(p->blobs, p->n_blobs + 1, sizeof(*more));
    p->blobs = more;
    more[p->n_blobs++] = (struct wanted){.digest = child->digest, .size = child->size};
    if (child->size > 0) p->total += child->size;
    return 0;
}

/* exact: of the variant wanted. Else any that this machine may run; for a variant that was asked for, one that says
 * none. */
static bool platform_fits(const struct pull_options *o, const struct manifest_child *c, bool exact) {
    if (strcmp(c->os, o->os) != 0 || strcmp(c->arch, o->arch) != 0) return false;
    if (!o->variant || strcmp(c->variant, o->variant) == 0) return true;
    return !exact && (!o->named || !c->variant[0]);
}

/* The entry for the platform: with its variant if there is one, else without; an index of one entry has no choice. */
static const struct manifest_child *choose(const struct pull *p, const struct manifest *m) {
    const struct manifest_child *only = NULL;
    size_t n = 0;
    for (int exact = 1; exact >= 0; exact--) {
        for (size_t i = 0; i < m->n_children; i++) {
            if (m->children[i].kind == CHILD_MANIFEST && platform_fits(p->o, &m->children[i], exact))
                return &m->children[i];
        }
    }
    for (size_t i = 0; i < m->n_children; i++) {
        if (m->children[i].kind != CHILD_MANIFEST) continue;
        only = &m->children[i];
        n++;
    }
    return n == 1 && !only->os[0] ? only : NULL;
}

static const char *platform_str(const struct manifest_child *c, char out[PLATFORM_MAX]) {
    snprintf(out, PLATFORM_MAX, "%s/%s%s%s", c->os, c->arch, c->variant[0] ? "/" : "", c->variant);
    text_make_printable(out);
    return out;
}

static int no_image_for(const struct pull *p, const char *have, struct error *err) {
    const struct pull_options *o = p->o;
    error_set(err, ERR_NOT_FOUND, "there is no image for %s/%s%s%s; there is: %.300s", o->os, o->arch,
              o->variant ? "/" : "", o->variant ? o->variant : "", have);
    error_hint(err, "give --platform with one of those, or --all");
    return ERR_NOT_FOUND;
}

static int no_platform(const struct pull *p, const struct manifest *m, struct error *err) {
    char have[300] = "", one[PLATFORM_MAX];
    size_t len = 0;
    for (size_t i = 0; i < m->n_children && len < sizeof(have) - PLATFORM_MAX - 3; i++) {
        const struct manifest_child *c = &m->children[i];
        if (c->kind != CHILD_MANIFEST || !c->os[0] || strcmp(c->os, "unknown") == 0) continue;
        len += (size_t)snprintf(have + len, sizeof(have) - len, "%s%s", len ? ", " : "", platform_str(c, one));
    }
    return no_image_for(p, have[0] ? have : "none that names its platform", err);
}

static bool is_image_config(const struct manifest_child *c) {
    return c->kind == CHILD_CONFIG && c->size >= 0 && c->size <= CONFIG_MAX_BYTES;
}

/* Checks the platform in the config of an image without an index. An image that names none is accepted. */
static int check_platform(struct pull *p, struct control *c, const struct manifest *m, struct error *err) {
    char path[4 * REPO_STR_MAX], digest[DIGEST_STR_MAX];
    for (size_t i = 0; i < m->n_children; i++) {
        if (!is_image_config(&m->children[i])) continue;
        struct buf body;
        buf_init(&body, CONFIG_MAX_BYTES);
        snprintf(path, sizeof(path), "/v2/%s/blobs/%s", p->name, digest_str(&m->children[i].digest, digest));
        struct control_request rq = {.method = "GET",
                                     .path = path,
                                     .max_body = CONFIG_MAX_BYTES,
                                     .stall_s = STALL_S,
                                     .data = collect,
                                     .arg = &body};
        int r = control_ask(c, &rq, NULL, err);
        json_t *doc = r == 0 ? json_loadb(body.data ? body.data : "", body.len, 0, NULL) : NULL;
        struct manifest_child is = {0};
        snprintf(is.os, sizeof(is.os), "%s", json_text(doc, "os", ""));
        snprintf(is.arch, sizeof(is.arch), "%s", json_text(doc, "architecture", ""));
        snprintf(is.variant, sizeof(is.variant), "%s", json_text(doc, "variant", ""));
        json_decref(doc);
        buf_fini(&body);
        if (r < 0) return error_wrap(err, "config %s", digest);
        if (!is.os[0] || !is.arch[0] || platform_fits(p->o, &is, false)) return 0;
        char have[PLATFORM_MAX];
        platform_str(&is, have);
        return no_image_for(p, have, err);
    }
    return 0;
}

static int walk(struct pull *p, struct control *c, const char *ref, const struct wanted *expected, unsigned depth,
                struct error *err);

static int walk_index(struct pull *p, struct control *c, const struct manifest *m, unsigned depth, struct error *err) {
    const struct manifest_child *one = p->o->all ? NULL : choose(p, m);
    if (!p->o->all && !one) return no_platform(p, m, err);
    if (depth == DEPTH_MAX) return error_set(err, ERR_INVALID, "indexes are nested too deep");
    int r = 0;
    for (size_t i = 0; i < m->n_children && r == 0; i++) {
        const struct manifest_child *child = &m->children[i];
        char digest[DIGEST_STR_MAX];
        if (child->kind != CHILD_MANIFEST || (one && child != one)) continue;
        struct wanted w = {.digest = child->digest, .size = child->size};
        r = walk(p, c, digest_str(&child->digest, digest), &w, depth + 1, err);
    }
    return r;
}

static int walk(struct pull *p, struct control *c, const char *ref, const struct wanted *expected, unsigned depth,
                struct error *err) {
    struct manifest m = {0};
    struct digest actual;
    int r = get_manifest(p, c, ref, expected, &m, &actual, err);
    if (r == 0 && depth == 0) digest_str(&actual, p->out->digest);
    if (r == 0 && m.is_index) {
        r = walk_index(p, c, &m, depth, err);
    } else if (r == 0) {
        if (p->o->named && !p->o->all) r = check_platform(p, c, &m, err);
        for (size_t i = 0; i < m.n_children && r == 0; i++) {
            if (m.children[i].kind != CHILD_SUBJECT) r = want_blob(p, &m.children[i], err);
        }
    }
    manifest_fini(&m);
    return r;
}

/* --- blobs --- */
struct download {
    struct pull *p;
    struct hasher hash;
    int64_t bytes;
};

static bool on_data(const void *data, size_t len, void *arg) {
    struct download *d = arg;
    hasher_update(&d->hash, data, len);
    d->bytes += (int64_t)len;
    pthread_mutex_lock(&d->p->lock);
    bool go_on = d->p->code == 0;
    d->p->got += (int64_t)len;
    if (d->p->o->progress) progress_show(d->p->o->progress, d->p->got, d->p->total);
    pthread_mutex_unlock(&d->p->lock);
    return go_on;
}

static int get_blob(struct pull *p, struct control *c, const struct wanted *w, struct error *err) {
    char path[4 * REPO_STR_MAX], text[DIGEST_STR_MAX];
    digest_str(&w->digest, text);
    snprintf(path, sizeof(path), "/v2/%s/blobs/%s", p->name, text);
    struct download d = {.p = p};
    hasher_init(&d.hash, (enum digest_alg)w->digest.alg);
    struct control_request rq = {.method = "GET",
                                 .path = path,
                                 .max_body = w->size > 0 ? w->size : 0,
                                 .stall_s = STALL_S,
                                 .data = on_data,
                                 .arg = &d};
    struct control_answer a;
    int r = control_ask(c, &rq, &a, err);
    if (r < 0) return error_wrap(err, "blob %s", text);
    struct digest actual;
    hasher_final(&d.hash, &actual);
    if (!digest_eq(&actual, &w->digest)) {
        error_set(err, ERR_MISMATCH, "blob %s came with other bytes", text);
        return other_bytes(p, &a, err);
    }
    if (w->size >= 0 && d.bytes != w->size) {
        return error_set(err, ERR_MISMATCH, "blob %s has %lld bytes, its manifest promised %lld", text,
                         (long long)d.bytes, (long long)w->size);
    }
    pthread_mutex_lock(&p->lock);
    count(p, &a, d.bytes);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

static const struct wanted *next_blob(struct pull *p) {
    pthread_mutex_lock(&p->lock);
    const struct wanted *w = p->code == 0 && p->next < p->n_blobs ? &p->blobs[p->next++] : NULL;
    pthread_mutex_unlock(&p->lock);
    return w;
}

static void *worker(void *arg) {
    struct pull *p = arg;
    struct error err = {0};
    _cleanup_(control_closep) struct control *c = NULL;
    const struct wanted *w;
    int r = open_control(p->o, &c, &err);
    while (r == 0 && (w = next_blob(p)))
        r = get_blob(p, c, w, &err);
    pthread_mutex_lock(&p->lock);
    if (r < 0 && p->code == 0) { /* the first failure is reported; the other downloads only stop because of it */
        p->code = r;
        *p->err = err;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int download_all(struct pull *p) {
    pthread_t threads[WORKERS];
    size_t n = 0;
    while (n < WORKERS && n < p->n_blobs && pthread_create(&threads[n], NULL, worker, p) == 0)
        n++;
    if (n == 0 && p->n_blobs > 0) worker(p);
    while (n > 0)
        pthread_join(threads[--n], NULL);
    return p->code;
}

int pull_image(const struct pull_options *o, const char *ref, struct pull_result *out, struct error *err) {
    char name[REPO_STR_MAX], ref_text[DIGEST_STR_MAX];
    struct reference reference;
    memset(out, 0, sizeof(*out));
    int r = image_ref_parse(ref, name, &reference, err);
    if (r < 0) return r;
    int64_t started = clock_mono_ms();
    struct pull p = {.o = o, .out = out, .err = err, .seen = map_new(NULL)};
    _cleanup_(freep) char *escaped = control_escape(name);
    snprintf(p.name, sizeof(p.name), "%s", escaped);
    pthread_mutex_init(&p.lock, NULL);
    _cleanup_(control_closep) struct control *c = NULL;
    struct wanted expected = {.digest = reference.digest, .size = -1};
    r = open_control(o, &c, err);
    if (r == 0) r = walk(&p, c, reference_str(&reference, ref_text), reference.is_digest ? &expected : NULL, 0, err);
    if (r == 0) r = download_all(&p);
    out->ms = clock_mono_ms() - started;
    pthread_mutex_destroy(&p.lock);
    map_free(p.seen);
    free(p.blobs);
    return r;
}

void pull_platform(const char **os, const char **arch, const char **variant) {
    static const struct {
        const char *machine, *arch, *variant;
    } known[] = {{"x86_64", "amd64", NULL},    {"aarch64", "arm64", "v8"},   {"armv7l", "arm", "v7"},
                 {"armv6l", "arm", "v6"},      {"i686", "386", NULL},        {"i386", "386", NULL},
                 {"ppc64le", "ppc64le", NULL}, {"riscv64", "riscv64", NULL}, {"s390x", "s390x", NULL}};
    struct utsname u;
    *os = "linux";
    *arch = "amd64";
    *variant = NULL;
    if (uname(&u) < 0) return;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(known[i].machine, u.machine) != 0) continue;
        *arch = known[i].arch;
        *variant = known[i].variant;
    }
}
