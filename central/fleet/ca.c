/* Opens the fleet's authority, and signs with it. Thread: as the header says. */
#include "central/fleet/ca_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/http/tls.h"
#include "common/identity/attest.h"
#include "common/identity/cert.h"

struct ca *ca_new(const char *data, const char *key_file) {
    struct ca *ca = xcalloc(1, sizeof(*ca));
    pthread_rwlock_init(&ca->lock, NULL);
    ca->gone = sk_X509_new_null();
    if (!ca->gone) out_of_memory();
    snprintf(ca->dir, sizeof(ca->dir), "%.4000s/identity", data);
    snprintf(ca->key_file, sizeof(ca->key_file), "%.4090s%s", key_file ? key_file : ca->dir,
             key_file ? "" : "/root.key.pem");
    return ca;
}

static void read_until(struct ca *ca) {
    char *text;
    size_t len;
    struct error ignored = {0};
    if (file_read_all(ca_path(ca, "retired.until").text, 64, &text, &len, &ignored) < 0) return;
    ca->retired_until = strtoll(text, NULL, 10);
    free(text);
}

/* Removes the certificate of a version that made a fleet without an authority. */
static void remove_old(const struct ca *ca) {
    static const char *const files[] = {"cert.pem", "key.pem"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct ca_path p = ca_path(ca, files[i]);
        if (unlink(p.text) < 0 && errno != ENOENT) log_warn("file_not_removed", KV_S("path", p.text));
    }
}

static int make_roots(struct ca *ca, struct error *err) {
    fleet_id_make(ca->fleet);
    remove_old(ca);
    int r = ca_make_root(ca, CA_STANDBY, err);
    if (r == 0) r = ca_make_root(ca, CA_ROOT, err);
    if (r == 0) log_info("fleet_made", KV_S("fleet", ca->fleet), KV_S("folder", ca->dir));
    return r;
}

int ca_open(struct ca **out, const char *data, const char *key_file, struct error *err) {
    struct ca *ca = ca_new(data, key_file);
    struct ca_path root = ca_root_path(ca, CA_ROOT), signer = ca_path(ca, "signer.pem"),
                   old = ca_path(ca, "retired-signer.pem");
    int r = dir_make_all(ca->dir, 0700, err);
    if (r == 0) r = ca_finish_switch(ca, err);
    if (r == 0)
        r = ca_path_exists(root.text) || ca_path_exists(signer.text) ? ca_read_roots(ca, err) : make_roots(ca, err);
    if (r == 0)
        r = ca_path_exists(signer.text) ? ca_read_signer(ca, signer.text, err) : ca_make_signer(ca, signer.text, err);
    if (r == 0) r = ca_read_cross(ca, err);
    if (r == 0 && ca_path_exists(old.text)) r = ca_read_pem(old.text, &ca->signers[KEPT_OLD_SIGNER], NULL, err);
    read_until(ca);
    if (r < 0) {
        ca_close(ca);
        return error_wrap(err, "the fleet's authority");
    }
    *out = ca;
    return 0;
}

void ca_close(struct ca *ca) {
    if (!ca) return;
    for (unsigned i = 0; i < CA_ROOTS; i++)
        X509_free(ca->roots[i]);
    for (unsigned i = 0; i < KEPT_SIGNERS; i++)
        X509_free(ca->signers[i]);
    X509_free(ca->cross);
    EVP_PKEY_free(ca->signer_key);
    sk_X509_pop_free(ca->gone, X509_free);
    for (unsigned i = 0; i < ca->n_gone_keys; i++)
        EVP_PKEY_free(ca->gone_key[i]);
    pthread_rwlock_destroy(&ca->lock);
    free(ca);
}

/* --- using --- */

static void lock_for_reading(const struct ca *ca) {
    pthread_rwlock_rdlock(&((struct ca *)(uintptr_t)ca)->lock);
}

static void unlock(const struct ca *ca) {
    pthread_rwlock_unlock(&((struct ca *)(uintptr_t)ca)->lock);
}

const char *ca_fleet(const struct ca *ca) {
    return ca->fleet;
}

const char *ca_key_file(const struct ca *ca) {
    return ca->key_file;
}

X509 *ca_root(const struct ca *ca, enum ca_root which) {
    lock_for_reading(ca);
    X509 *root = ca->roots[which];
    unlock(ca);
    return root;
}

enum ca_state ca_state(const struct ca *ca) {
    return ca_root(ca, CA_NEXT) ? CA_SPREADING : ca_root(ca, CA_RETIRED) ? CA_RETIRING : CA_STEADY;
}

STACK_OF(X509) * ca_trusted(const struct ca *ca) {
    STACK_OF(X509) *all = sk_X509_new_null();
    if (!all) out_of_memory();
    lock_for_reading(ca);
    for (unsigned i = 0; i < CA_ROOTS; i++)
        if (ca->roots[i] && sk_X509_push(all, ca->roots[i]) <= 0) out_of_memory();
    unlock(ca);
    return all;
}

static X509 *signer_and_key(const struct ca *ca, EVP_PKEY **key) {
    lock_for_reading(ca);
    X509 *signer = ca->signers[KEPT_SIGNER];
    *key = ca->signer_key;
    unlock(ca);
    return signer;
}

X509 *ca_signer(const struct ca *ca) {
    EVP_PKEY *key;
    return signer_and_key(ca, &key);
}

X509 *ca_signer_of(const struct ca *ca, X509 *cert) {
    X509 *candidates[KEPT_SIGNERS], *found = NULL;
    lock_for_reading(ca);
    memcpy(candidates, ca->signers, sizeof(candidates));
    unlock(ca);
    for (unsigned i = 0; i < KEPT_SIGNERS && !found; i++)
        if (candidates[i] && X509_verify(cert, X509_get0_pubkey(candidates[i])) == 1) found = candidates[i];
    ERR_clear_error();
    return found;
}

int64_t ca_retired_until(const struct ca *ca) {
    lock_for_reading(ca);
    int64_t until = ca->retired_until;
    unlock(ca);
    return until;
}

static X509 *sign(const struct ca *ca, const struct member *m, const char *name, EVP_PKEY *key, X509 **signer) {
    char uri[MEMBER_URI_MAX];
    EVP_PKEY *signer_key;
    *signer = signer_and_key(ca, &signer_key);
    const struct cert_order o = {.common_name = name,
                                 .uri = member_uri(m, uri),
                                 .key = key,
                                 .issuer = *signer,
                                 .issuer_key = signer_key,
                                 .not_before = m->not_before,
                                 .not_after = m->not_after};
    return cert_make(&o);
}

X509 *ca_issue(const struct ca *ca, const struct member *m, EVP_PKEY *key) {
    X509 *signer;
    return sign(ca, m, m->name, key, &signer);
}

X509 *ca_issue_server(const struct ca *ca, const struct ca_server *s) {
    EVP_PKEY *signer_key;
    X509 *signer = signer_and_key(ca, &signer_key);
    int64_t now = clock_wall_s();
    const struct cert_order o = {.common_name = s->common_name,
                                 .key = s->key,
                                 .issuer = signer,
                                 .issuer_key = signer_key,
                                 .not_before = now - CERT_EARLY_S,
                                 .not_after = now + s->lifetime_s,
                                 .names = s->names,
                                 .n_names = s->n_names};
    return cert_make(&o);
}

STACK_OF(X509) * ca_server_chain(const struct ca *ca, X509 *cert) {
    X509 *signer = ca_signer_of(ca, cert);
    STACK_OF(X509) *chain = sk_X509_new_null();
    if (!chain || (signer && sk_X509_push(chain, signer) <= 0)) out_of_memory();
    lock_for_reading(ca);
    if (ca->cross && signer == ca->signers[KEPT_SIGNER] && sk_X509_push(chain, ca->cross) <= 0) out_of_memory();
    unlock(ca);
    return chain;
}

SSL_CTX *ca_server_context(const struct ca *ca, const struct ca_server *s) {
    struct ca_server own = *s;
    own.key = key_make();
    X509 *cert = ca_issue_server(ca, &own);
    STACK_OF(X509) *more = ca_server_chain(ca, cert);
    SSL_CTX *ctx = tls_context_of(cert, more, own.key);
    if (!ctx) out_of_memory();
    sk_X509_free(more);
    X509_free(cert);
    EVP_PKEY_free(own.key);
    return ctx;
}

X509 *ca_attest(const struct ca *ca, const void *data, size_t len, uint8_t **out, size_t *out_len) {
    EVP_PKEY *key;
    X509 *signer = signer_and_key(ca, &key);
    attest_sign(key, data, len, out, out_len);
    return signer;
}

/* Lets every certificate through the handshake, so that the port can answer in words why it refuses one. Dates are
 * checked by the gate. */
static int on_verify(X509_STORE_CTX *ctx, void *arg) {
    (void)arg;
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
    if (X509_verify_cert(ctx) != 1 && X509_STORE_CTX_get_error(ctx) == X509_V_OK)
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
    return 1;
}

SSL_CTX *ca_context(const struct ca *ca, int64_t lifetime_s) {
    SSL_CTX *ctx = tls_context_new();
    struct member m = {.role = MEMBER_CENTRAL};
    memcpy(m.fleet, ca->fleet, sizeof(m.fleet));
    m.not_before = clock_wall_s() - CERT_EARLY_S;
    m.not_after = clock_wall_s() + lifetime_s;
    EVP_PKEY *key = key_make();
    X509 *signer, *cert = sign(ca, &m, "central", key, &signer);
    STACK_OF(X509) *roots = ca_trusted(ca);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    bool good = SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) && SSL_CTX_use_certificate(ctx, cert) == 1 &&
                SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_add1_chain_cert(ctx, signer) == 1;
    for (int i = 0; i < sk_X509_num(roots); i++) { /* sent as well: an edge that joins knows their hashes only */
        X509 *root = sk_X509_value(roots, i);
        good = good && SSL_CTX_add1_chain_cert(ctx, root) == 1 && X509_STORE_add_cert(store, root) == 1;
    }
    good = good && X509_STORE_add_cert(store, signer) == 1;
    sk_X509_free(roots);
    if (!good) out_of_memory();
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_verify, NULL);
    /* A resumed session would stand for the certificate of an earlier connection. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}
