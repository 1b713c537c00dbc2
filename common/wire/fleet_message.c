/* Encodes and decodes the state of the fleet. Thread: any. */
#include "common/wire/fleet_message.h"

#include "common/core/alloc.h"
#include "common/wire/pack.h"
#include "common/wire/wire.h"
#include "proto/fleet.pb-c.h"

#include <stdio.h>
#include <string.h>

#define BODY_MAX 1024
#define SIGNATURE_MAX 512

/* --- encoding --- */

static size_t put_list(ProtobufCBinaryData *to, const struct wire_bytes *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] = (ProtobufCBinaryData){from[i].len, from[i].data};
    return n;
}

static bool is_zero(const uint8_t hash[WIRE_HASH_BYTES]) {
    static const uint8_t zero[WIRE_HASH_BYTES];
    return memcmp(hash, zero, sizeof(zero)) == 0;
}

static ProtobufCBinaryData hash_of(const uint8_t hash[WIRE_HASH_BYTES]) {
    return (ProtobufCBinaryData){is_zero(hash) ? 0 : WIRE_HASH_BYTES, (uint8_t *)(uintptr_t)hash};
}

static void put_removals(Entrepot__V1__FleetState *p, const struct wire_fleet_state *m) {
    Entrepot__V1__Removal *rows = xcalloc(m->n_removals + 1, sizeof(*rows));
    p->removals = xcalloc(m->n_removals + 1, sizeof(*p->removals));
    p->removals[0] = rows; /* also of an empty list, to be freed */
    for (size_t i = 0; i < m->n_removals; i++) {
        const struct wire_removal *r = &m->removals[i];
        entrepot__v1__removal__init(p->removals[i] = &rows[i]);
        rows[i].body = (ProtobufCBinaryData){r->body.len, r->body.data};
        rows[i].signature = (ProtobufCBinaryData){r->signature.len, r->signature.data};
        rows[i].signer = hash_of(r->signer);
    }
    p->n_removals = m->n_removals;
}

int wire_fleet_state_encode(const struct wire_fleet_state *m, uint8_t **out, size_t *len) {
    ProtobufCBinaryData roots[WIRE_CERTS_MAX], signers[WIRE_CERTS_MAX];
    char *addresses[WIRE_ADDRESSES_MAX];
    Entrepot__V1__FleetState p;
    entrepot__v1__fleet_state__init(&p);
    p.version = WIRE_VERSION;
    p.roots = roots;
    p.n_roots = put_list(roots, m->roots, m->n_roots);
    p.signers = signers;
    p.n_signers = put_list(signers, m->signers, m->n_signers);
    for (size_t i = 0; i < m->n_addresses; i++)
        addresses[i] = (char *)(uintptr_t)m->addresses[i];
    p.addresses = addresses;
    p.n_addresses = m->n_addresses;
    p.signer = hash_of(m->signer);
    put_removals(&p, m);
    int r = wire_pack(&p.base, WIRE_MAX_STATE, out, len);
    free(p.removals[0]);
    free(p.removals);
    return r;
}

int wire_removal_body_encode(const struct wire_removal_body *m, uint8_t **out, size_t *len) {
    Entrepot__V1__RemovalBody p;
    entrepot__v1__removal_body__init(&p);
    p.fleet = (char *)(uintptr_t)m->fleet;
    p.name = (char *)(uintptr_t)m->name;
    p.site = (char *)(uintptr_t)m->site;
    p.key = hash_of(m->key);
    p.generation = m->generation;
    p.removed_at = m->removed_at;
    p.until = m->until;
    return wire_pack(&p.base, BODY_MAX, out, len);
}

/* --- building --- */

static void copy_bytes(struct wire_bytes *to, const void *data, size_t len) {
    to->data = xmalloc(len + 1);
    if (len) memcpy(to->data, data, len);
    to->len = len;
}

void wire_fleet_state_add(struct wire_fleet_state *m, const struct wire_removal *removal) {
    if (m->n_removals >= WIRE_REMOVALS_MAX) return;
    if ((m->n_removals & (m->n_removals + 1)) == 0) /* grows by doubling, before the first of each power of two */
        m->removals = xrealloc(m->removals, 2 * m->n_removals + 2, sizeof(*m->removals));
    struct wire_removal *r = &m->removals[m->n_removals++];
    copy_bytes(&r->body, removal->body.data, removal->body.len);
    copy_bytes(&r->signature, removal->signature.data, removal->signature.len);
    memcpy(r->signer, removal->signer, sizeof(r->signer));
}

void wire_fleet_state_add_signer(struct wire_fleet_state *m, const void *der, size_t len) {
    for (size_t i = 0; i < m->n_signers; i++)
        if (m->signers[i].len == len && memcmp(m->signers[i].data, der, len) == 0) return;
    if (m->n_signers < WIRE_CERTS_MAX) copy_bytes(&m->signers[m->n_signers++], der, len);
}

/* --- decoding --- */

static bool take_hash(uint8_t to[WIRE_HASH_BYTES], const ProtobufCBinaryData *from) {
    if (from->len == WIRE_HASH_BYTES) memcpy(to, from->data, WIRE_HASH_BYTES);
    return from->len == WIRE_HASH_BYTES;
}

static int take_certs(struct wire_bytes *to, size_t *n, const ProtobufCBinaryData *from, size_t count) {
    if (count > WIRE_CERTS_MAX) return ERR_INVALID;
    for (; *n < count; ++*n)
        copy_bytes(&to[*n], from[*n].data, from[*n].len);
    return 0;
}

static int take_addresses(struct wire_fleet_state *m, const Entrepot__V1__FleetState *p) {
    if (p->n_addresses > WIRE_ADDRESSES_MAX) return ERR_INVALID;
    for (size_t i = 0; i < p->n_addresses; i++) {
        if (strlen(p->addresses[i]) >= WIRE_ADDRESS_MAX) return ERR_INVALID;
        snprintf(m->addresses[m->n_addresses++], WIRE_ADDRESS_MAX, "%s", p->addresses[i]);
    }
    return 0;
}

static int take_removals(struct wire_fleet_state *m, const Entrepot__V1__FleetState *p) {
    if (p->n_removals > WIRE_REMOVALS_MAX) return ERR_INVALID;
    for (size_t i = 0; i < p->n_removals; i++) {
        const Entrepot__V1__Removal *from = p->removals[i];
        struct wire_removal r = {.body = {from->body.data, from->body.len},
                                 .signature = {from->signature.data, from->signature.len}};
        if (from->body.len == 0 || from->body.len > BODY_MAX || from->signature.len == 0 ||
            from->signature.len > SIGNATURE_MAX || !take_hash(r.signer, &from->signer))
            return ERR_INVALID;
        wire_fleet_state_add(m, &r);
    }
    return 0;
}

static int take_state(struct wire_fleet_state *m, const Entrepot__V1__FleetState *p) {
    int known = wire_check_version(p->version);
    if (known < 0) return known;
    m->version = p->version;
    if (p->signer.len && !take_hash(m->signer, &p->signer)) return ERR_INVALID;
    int r = take_certs(m->roots, &m->n_roots, p->roots, p->n_roots);
    if (r == 0) r = take_certs(m->signers, &m->n_signers, p->signers, p->n_signers);
    if (r == 0) r = take_addresses(m, p);
    return r < 0 ? r : take_removals(m, p);
}

int wire_fleet_state_decode(struct wire_fleet_state *m, const void *data, size_t len) {
    *m = (struct wire_fleet_state){0};
    if (len > WIRE_MAX_STATE) return ERR_TOO_BIG;
    Entrepot__V1__FleetState *p = entrepot__v1__fleet_state__unpack(NULL, len, data);
    if (!p) return ERR_INVALID;
    int r = take_state(m, p);
    entrepot__v1__fleet_state__free_unpacked(p, NULL);
    return r;
}

void wire_fleet_state_fini(struct wire_fleet_state *m) {
    for (size_t i = 0; i < m->n_roots; i++)
        free(m->roots[i].data);
    for (size_t i = 0; i < m->n_signers; i++)
        free(m->signers[i].data);
    for (size_t i = 0; i < m->n_removals; i++) {
        free(m->removals[i].body.data);
        free(m->removals[i].signature.data);
    }
    free(m->removals);
    *m = (struct wire_fleet_state){0};
}

int wire_removal_body_decode(struct wire_removal_body *m, const void *data, size_t len) {
    *m = (struct wire_removal_body){0};
    if (len > BODY_MAX) return ERR_TOO_BIG;
    Entrepot__V1__RemovalBody *p = entrepot__v1__removal_body__unpack(NULL, len, data);
    if (!p) return ERR_INVALID;
    int r = strlen(p->fleet) < sizeof(m->fleet) && strlen(p->name) < sizeof(m->name) &&
                    strlen(p->site) < sizeof(m->site) && p->name[0] && take_hash(m->key, &p->key)
                ? 0
                : ERR_INVALID;
    if (r == 0) {
        snprintf(m->fleet, sizeof(m->fleet), "%s", p->fleet);
        snprintf(m->name, sizeof(m->name), "%s", p->name);
        snprintf(m->site, sizeof(m->site), "%s", p->site);
        m->generation = p->generation;
        m->removed_at = p->removed_at;
        m->until = p->until;
    }
    entrepot__v1__removal_body__free_unpacked(p, NULL);
    return r;
}
