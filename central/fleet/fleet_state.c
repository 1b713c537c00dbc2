/* Encodes the state of the fleet, and keeps the bytes. Thread: as the header says. */
#include "central/fleet/fleet_state.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/digest.h"
#include "common/identity/cert.h"
#include "common/wire/wire.h"

struct fleet_state {
    const struct ca *ca;
    struct roster *roster;
    _Atomic uint64_t version;
    pthread_mutex_t lock; /* guards what follows */
    uint8_t *bytes;
    size_t len;
};

static void add_certs(struct wire_fleet_state *m, const struct ca *ca) {
    STACK_OF(X509) *roots = ca_trusted(ca);
    for (int i = 0; i < sk_X509_num(roots); i++, m->n_roots++)
        cert_to_der(sk_X509_value(roots, i), &m->roots[m->n_roots].data, &m->roots[m->n_roots].len);
    sk_X509_free(roots);
    cert_hash(ca_signer(ca), m->signer);
}

static int encode(struct fleet_state *s, char *const *addresses, size_t n, uint8_t **out, size_t *len,
                  struct error *err) {
    struct wire_fleet_state m = {0};
    add_certs(&m, s->ca);
    for (size_t i = 0; i < n && i < WIRE_ADDRESSES_MAX; i++)
        snprintf(m.addresses[m.n_addresses++], WIRE_ADDRESS_MAX, "%s", addresses[i]);
    int r = roster_removals(s->roster, &m, err);
    if (r >= 0) {
        r = wire_fleet_state_encode(&m, out, len);
        if (r < 0) error_set(err, r, "the state of the fleet is too large");
    }
    wire_fleet_state_fini(&m);
    return r;
}

int fleet_state_make(struct fleet_state *s, char *const *addresses, size_t n_addresses, struct error *err) {
    uint8_t *bytes;
    size_t len;
    struct digest d;
    uint64_t version;
    int r = encode(s, addresses, n_addresses, &bytes, &len, err);
    if (r < 0) return r;
    digest_of(&d, DIGEST_SHA256, bytes, len);
    memcpy(&version, d.bytes, sizeof(version));
    if (version == 0) version = 1;
    pthread_mutex_lock(&s->lock);
    free(s->bytes);
    s->bytes = bytes;
    s->len = len;
    pthread_mutex_unlock(&s->lock);
    return atomic_exchange(&s->version, version) != version;
}

uint64_t fleet_state_version(const struct fleet_state *s) {
    return atomic_load(&s->version);
}

void fleet_state_answer(struct fleet_state *s, struct http_req *req) {
    pthread_mutex_lock(&s->lock);
    size_t len = s->len;
    uint8_t *copy = xmalloc(len + 1);
    if (len) memcpy(copy, s->bytes, len);
    pthread_mutex_unlock(&s->lock);
    http_reply(req, 200, WIRE_CONTENT_TYPE, copy, len);
    free(copy);
}

struct fleet_state *fleet_state_new(const struct ca *ca, struct roster *roster) {
    struct fleet_state *s = xcalloc(1, sizeof(*s));
    s->ca = ca;
    s->roster = roster;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void fleet_state_free(struct fleet_state *s) {
    if (!s) return;
    free(s->bytes);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
