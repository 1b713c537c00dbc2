/* The messages of joining and renewing, and the state of the fleet, from anyone: what is taken is within bounds and can be written again. */
#include "common/identity/cert.h"
#include "common/wire/fleet_message.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_request(const uint8_t *data, size_t size) {
    struct wire_join_request m;
    uint8_t *out;
    size_t len;
    if (wire_join_request_decode(&m, data, size) == 0) {
        EVP_PKEY *key = NULL;
        struct error err = {0};
        assert(m.secret_len > 0 && m.secret_len <= sizeof(m.secret) &&
               strnlen(m.site, sizeof(m.site)) < sizeof(m.site));
        if (csr_key(&key, m.csr.data, m.csr.len, &err) == 0) EVP_PKEY_free(key);
        if (wire_join_request_encode(&m, &out, &len) == 0) free(out);
    }
    wire_join_request_fini(&m);
}

static void try_response(const uint8_t *data, size_t size) {
    struct wire_join_response m;
    uint8_t *out;
    size_t len;
    if (wire_join_response_decode(&m, data, size) == 0) {
        assert(m.n_chain > 0 && m.n_chain <= WIRE_CERTS_MAX && m.n_roots > 0 && m.n_roots <= WIRE_CERTS_MAX);
        for (size_t i = 0; i < m.n_chain; i++) {
            X509 *cert;
            struct error err = {0};
            if (cert_from_der(&cert, m.chain[i].data, m.chain[i].len, &err) == 0) X509_free(cert);
        }
        if (wire_join_response_encode(&m, &out, &len) == 0) free(out);
    }
    wire_join_response_fini(&m);
}

static void try_certificate(const uint8_t *data, size_t size) {
    struct wire_certificate_request rq;
    struct wire_certificate_response rs;
    uint8_t *out;
    size_t len;
    if (wire_certificate_request_decode(&rq, data, size) == 0) {
        assert(rq.csr.len > 0 && rq.names.n > 0 && rq.names.n <= WIRE_NAMES_MAX);
        for (size_t i = 0; i < rq.names.n; i++)
            assert(rq.names.list[i][0] && strnlen(rq.names.list[i], WIRE_NAME_MAX) < WIRE_NAME_MAX);
        if (wire_certificate_request_encode(&rq, &out, &len) == 0) free(out);
    }
    wire_certificate_request_fini(&rq);
    if (wire_certificate_response_decode(&rs, data, size) == 0) {
        assert(rs.n_chain > 0 && rs.n_chain <= WIRE_CERTS_MAX && rs.refused.n <= WIRE_NAMES_MAX);
        if (wire_certificate_response_encode(&rs, &out, &len) == 0) free(out);
    }
    wire_certificate_response_fini(&rs);
}

static void try_state(const uint8_t *data, size_t size) {
    struct wire_fleet_state m;
    struct wire_removal_body b;
    uint8_t *out;
    size_t len;
    if (wire_fleet_state_decode(&m, data, size) == 0) {
        assert(m.n_roots <= WIRE_CERTS_MAX && m.n_signers <= WIRE_CERTS_MAX && m.n_addresses <= WIRE_ADDRESSES_MAX &&
               m.n_removals <= WIRE_REMOVALS_MAX);
        for (size_t i = 0; i < m.n_addresses; i++)
            assert(strnlen(m.addresses[i], WIRE_ADDRESS_MAX) < WIRE_ADDRESS_MAX);
        if (wire_fleet_state_encode(&m, &out, &len) == 0) {
            struct wire_fleet_state again;
            assert(wire_fleet_state_decode(&again, out, len) == 0 && again.n_removals == m.n_removals);
            wire_fleet_state_fini(&again);
            free(out);
        }
    }
    wire_fleet_state_fini(&m);
    if (wire_removal_body_decode(&b, data, size) == 0)
        assert(b.name[0] && strnlen(b.site, sizeof(b.site)) < sizeof(b.site));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct wire_renew_request renew;
    struct error err = {0};
    EVP_PKEY *key;
    STACK_OF(X509) * certs;
    int r = wire_renew_request_decode(&renew, data, size);
    assert(r == 0 || r == ERR_INVALID || r == ERR_TOO_BIG || r == ERR_UNSUPPORTED);
    try_request(data, size);
    try_response(data, size);
    try_certificate(data, size);
    try_state(data, size);
    if (pem_read((const char *)data, size, &key, &certs, &err) == 0) {
        EVP_PKEY_free(key);
        sk_X509_pop_free(certs, X509_free);
    }
    return 0;
}
