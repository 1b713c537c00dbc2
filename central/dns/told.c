/* Keeps the newest of both as bytes. Thread: as told.h says. */
#include "central/dns/told.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "common/admin/api_answer.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/dns/zone_message.h"
#include "common/records/messages.h"
#include "common/wire/wire.h"

/* Shared by all who are told it, so that edges that read slowly keep no copies. */
struct told_zone {
    atomic_int users;
    uint8_t *bytes;
    size_t len;
};

struct dns_told {
    _Atomic uint64_t version;
    pthread_mutex_t lock;   /* guards what follows */
    uint64_t views;         /* so far */
    struct told_zone *zone; /* NULL: it is not told */
    uint64_t zone_version;  /* a hash of it; 0: it is not told */
    uint32_t serial;
    bool kept;
    uint8_t *states;
    size_t n_states;
};

static struct told_zone *zone_new(uint8_t *bytes, size_t len) {
    struct told_zone *z = xcalloc(1, sizeof(*z));
    *z = (struct told_zone){1, bytes, len};
    return z;
}

/* NULL is let be. */
static void zone_release(void *arg) {
    struct told_zone *z = arg;
    if (!z || atomic_fetch_sub(&z->users, 1) > 1) return;
    free(z->bytes);
    free(z);
}

struct dns_told *dns_told_new(void) {
    struct dns_told *t = xcalloc(1, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void dns_told_free(struct dns_told *t) {
    if (!t) return;
    pthread_mutex_destroy(&t->lock);
    zone_release(t->zone);
    free(t->states);
    free(t);
}

/* Until the view comes there is nothing to tell: states belong to a zone. */
int dns_told_zone(struct dns_told *t, const struct dns_zone *z, const struct dns_zone_parts *parts,
                  unsigned registry_port, int64_t silent_ms) {
    uint8_t *bytes;
    size_t len;
    int r = dns_zone_message_encode(z, parts, registry_port, silent_ms, &bytes, &len);
    pthread_mutex_lock(&t->lock);
    zone_release(t->zone);
    t->zone = r < 0 ? NULL : zone_new(bytes, len);
    t->zone_version = r < 0 ? 0 : dns_zone_message_version(bytes, len);
    atomic_store(&t->version, 0);
    pthread_mutex_unlock(&t->lock);
    return r;
}

void dns_told_view(struct dns_told *t, const struct dns_view *v) {
    pthread_mutex_lock(&t->lock);
    t->serial = v->serial;
    t->kept = v->kept_since_ms != 0;
    free(t->states);
    t->n_states = v->zone->n_edges;
    t->states = xmalloc(t->n_states + 1);
    if (t->n_states) memcpy(t->states, v->states, t->n_states);
    atomic_store(&t->version, t->zone_version ? ++t->views : 0);
    pthread_mutex_unlock(&t->lock);
}

uint64_t dns_told_version(const struct dns_told *t) {
    return atomic_load(&t->version);
}

uint64_t dns_told_add(struct dns_told *t, struct buf *out) {
    pthread_mutex_lock(&t->lock);
    uint64_t version = atomic_load(&t->version);
    struct watch_message m = {.now_s = clock_wall_s(), .has_dns = true};
    m.dns = (struct watch_dns){
        .zone = t->zone_version, .serial = t->serial, .kept = t->kept, .states = t->states, .n_states = t->n_states};
    if (version && watch_message_add(out, &m) < 0) version = 0;
    pthread_mutex_unlock(&t->lock);
    return version;
}

void dns_told_answer(struct dns_told *t, struct http_req *req) {
    pthread_mutex_lock(&t->lock);
    struct told_zone *z = t->zone;
    if (z) atomic_fetch_add(&z->users, 1);
    pthread_mutex_unlock(&t->lock);
    if (z)
        http_reply_ref(req, 200, WIRE_CONTENT_TYPE, z->bytes, z->len, zone_release, z);
    else
        api_reply_error(req, 404, "this central's DNS tells no zone", "");
}
