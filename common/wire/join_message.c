/* Encodes and decodes the messages of joining. Thread: any. */
#include "common/wire/join_message.h"

#include "common/core/alloc.h"
#include "common/wire/pack.h"
#include "common/wire/wire.h"
#include "proto/fleet.pb-c.h"

#include <stdio.h>
#include <string.h>

/* --- encoding --- */

int wire_join_request_encode(const struct wire_join_request *m, uint8_t **out, size_t *len) {
    Entrepot__V1__JoinRequest p;
    entrepot__v1__join_request__init(&p);
    p.version = WIRE_VERSION;
    p.secret = (ProtobufCBinaryData){m->secret_len, (uint8_t *)(uintptr_t)m->secret};
    p.csr = (ProtobufCBinaryData){m->csr.len, m->csr.data};
    p.site = (char *)(uintptr_t)m->site;
    return wire_pack(&p.base, WIRE_MAX_JOIN, out, len);
}

static void put_list(ProtobufCBinaryData *to, const struct wire_bytes *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] = (ProtobufCBinaryData){from[i].len, from[i].data};
}

int wire_join_response_encode(const struct wire_join_response *m, uint8_t **out, size_t *len) {
    ProtobufCBinaryData chain[WIRE_CERTS_MAX], roots[WIRE_CERTS_MAX];
    Entrepot__V1__JoinResponse p;
    entrepot__v1__join_response__init(&p);
    p.version = WIRE_VERSION;
    put_list(chain, m->chain, m->n_chain);
    put_list(roots, m->roots, m->n_roots);
    p.chain = chain;
    p.n_chain = m->n_chain;
    p.roots = roots;
    p.n_roots = m->n_roots;
    return wire_pack(&p.base, WIRE_MAX_JOIN, out, len);
}

int wire_renew_request_encode(const struct wire_renew_request *m, uint8_t **out, size_t *len) {
    Entrepot__V1__RenewRequest p;
    entrepot__v1__renew_request__init(&p);
    p.version = WIRE_VERSION;
    p.id = (ProtobufCBinaryData){sizeof(m->id), (uint8_t *)(uintptr_t)m->id};
    return wire_pack(&p.base, WIRE_MAX_JOIN, out, len);
}

static void put_names(char **to, const struct wire_names *from) {
    for (size_t i = 0; i < from->n; i++)
        to[i] = (char *)(uintptr_t)from->list[i];
}

int wire_certificate_request_encode(const struct wire_certificate_request *m, uint8_t **out, size_t *len) {
    char *names[WIRE_NAMES_MAX];
    Entrepot__V1__ServerCertificateRequest p;
    entrepot__v1__server_certificate_request__init(&p);
    p.version = WIRE_VERSION;
    p.csr = (ProtobufCBinaryData){m->csr.len, m->csr.data};
    put_names(names, &m->names);
    p.names = names;
    p.n_names = m->names.n;
    return wire_pack(&p.base, WIRE_MAX_JOIN, out, len);
}

int wire_certificate_response_encode(const struct wire_certificate_response *m, uint8_t **out, size_t *len) {
    ProtobufCBinaryData chain[WIRE_CERTS_MAX];
    char *refused[WIRE_NAMES_MAX];
    Entrepot__V1__ServerCertificateResponse p;
    entrepot__v1__server_certificate_response__init(&p);
    p.version = WIRE_VERSION;
    put_list(chain, m->chain, m->n_chain);
    put_names(refused, &m->refused);
    p.chain = chain;
    p.n_chain = m->n_chain;
    p.refused = refused;
    p.n_refused = m->refused.n;
    return wire_pack(&p.base, WIRE_MAX_JOIN, out, len);
}

/* --- decoding --- */

static void copy_bytes(struct wire_bytes *to, const ProtobufCBinaryData *from) {
    to->data = xmalloc(from->len + 1);
    if (from->len) memcpy(to->data, from->data, from->len);
    to->len = from->len;
}

int wire_join_request_decode(struct wire_join_request *m, const void *data, size_t len) {
    *m = (struct wire_join_request){0};
    if (len > WIRE_MAX_JOIN) return ERR_TOO_BIG;
    Entrepot__V1__JoinRequest *p = entrepot__v1__join_request__unpack(NULL, len, data);
    if (!p) return ERR_INVALID;
    int r = wire_check_version(p->version);
    if (r == 0 && (p->secret.len == 0 || p->secret.len > sizeof(m->secret) || p->csr.len == 0 ||
                   strlen(p->site) >= sizeof(m->site)))
        r = ERR_INVALID;
    if (r == 0) {
        m->version = p->version;
        memcpy(m->secret, p->secret.data, p->secret.len);
        m->secret_len = p->secret.len;
        copy_bytes(&m->csr, &p->csr);
        snprintf(m->site, sizeof(m->site), "%s", p->site);
    }
    entrepot__v1__join_request__free_unpacked(p, NULL);
    return r;
}

void wire_join_request_fini(struct wire_join_request *m) {
    free(m->csr.data);
    explicit_bzero(m, sizeof(*m));
}

static size_t take_list(struct wire_bytes *to, const ProtobufCBinaryData *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        copy_bytes(&to[i], &from[i]);
    return n;
}

int wire_join_response_decode(struct wire_join_response *m, const void *data, size_t len) {
    *m = (struct wire_join_response){0};
    if (len > WIRE_MAX_JOIN) return ERR_TOO_BIG;
    Entrepot__V1__JoinResponse *p = entrepot__v1__join_response__unpack(NULL, len, data);
    if (!p) return ERR_INVALID;
    int r = wire_check_version(p->version);
    if (r == 0 && (p->n_chain == 0 || p->n_chain > WIRE_CERTS_MAX || p->n_roots == 0 || p->n_roots > WIRE_CERTS_MAX))
        r = ERR_INVALID;
    if (r == 0) {
        m->version = p->version;
        m->n_chain = take_list(m->chain, p->chain, p->n_chain);
        m->n_roots = take_list(m->roots, p->roots, p->n_roots);
    }
    entrepot__v1__join_response__free_unpacked(p, NULL);
    return r;
}

void wire_join_response_fini(struct wire_join_response *m) {
    for (size_t i = 0; i < m->n_chain; i++)
        free(m->chain[i].data);
    for (size_t i = 0; i < m->n_roots; i++)
        free(m->roots[i].data);
    *m = (struct wire_join_response){0};
}

int wire_renew_request_decode(struct wire_renew_request *m, const void *data, size_t len) {
    *m = (struct wire_renew_request){0};
    if (len > WIRE_MAX_JOIN) return ERR_TOO_BIG;
    Entrepot__V1__RenewRequest *p = entrepot__v1__renew_request__unpack(NULL, len, data);
    if (!p) return ERR_INVALID;
    int r = wire_check_version(p->version);
    if (r == 0 && p->id.len != sizeof(m->id)) r = ERR_INVALID;
    if (r == 0) {
        m->version = p->version;
        memcpy(m->id, p->id.data, sizeof(m->id));
    }
    entrepot__v1__renew_request__free_unpacked(p, NULL);
    return r;
}

static int take_names(struct wire_names *to, char *const *from, size_t n) {
    if (n > WIRE_NAMES_MAX) return ERR_INVALID;
    for (size_t i = 0; i < n; i++) {
        if (!from[i][0] || strlen(from[i]) >= WIRE_NAME_MAX) return ERR_INVALID;
        snprintf(to->list[to->n++], WIRE_NAME_MAX, "%s", from[i]);
    }
    return 0;
}

int wire_certificate_request_decode(struct wire_certificate_request *m, const void *data, size_t len) {
    *m = (struct wire_certificate_request){0};
    if (len > WIRE_MAX_JOIN) return ERR_TOO_BIG;
    Entrepot__V1__ServerCertificateRequest *p = entrepot__v1__server_certificate_request__unpack(NULL, len, data);
    if (!p) return ERR_INVALID;
    int r = wire_check_version(p->version);
    if (r == 0 && (p->csr.len == 0 || p->n_names == 0)) r = ERR_INVALID;
    if (r == 0) r = take_names(&m->names, p->names, p->n_names);
    if (r == 0) {
        m->version = p->version;
        copy_bytes(&m->csr, &p->csr);
    }
    entrepot__v1__server_certificate_request__free_unpacked(p, NULL);
    return r;
}

void wire_certificate_request_fini(struct wire_certificate_request *m) {
    free(m->csr.data);
    *m = (struct wire_certificate_request){0};
}

int wire_certificate_response_decode(struct wire_certificate_response *m, const void *data, size_t len) {
    *m = (struct wire_certificate_response){0};
    if (len > WIRE_MAX_JOIN) return ERR_TOO_BIG;
    Entrepot__V1__ServerCertificateResponse *p = entrepot__v1__server_certificate_response__unpack(NULL, len, data);
    if (!p) return ERR_INVALID;
    int r = wire_check_version(p->version);
    if (r == 0 && (p->n_chain == 0 || p->n_chain > WIRE_CERTS_MAX)) r = ERR_INVALID;
    if (r == 0) r = take_names(&m->refused, p->refused, p->n_refused);
    if (r == 0) {
        m->version = p->version;
        m->n_chain = take_list(m->chain, p->chain, p->n_chain);
    }
    entrepot__v1__server_certificate_response__free_unpacked(p, NULL);
    return r;
}

void wire_certificate_response_fini(struct wire_certificate_response *m) {
    for (size_t i = 0; i < m->n_chain; i++)
        free(m->chain[i].data);
    *m = (struct wire_certificate_response){0};
}
