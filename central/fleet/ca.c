/* Thread: as the header says. */
#include "central/fleet/ca.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/core/log.h"
#include "common/http/tls.h"
#include "common/identity/cert.h"

#define DAY_S 86400LL
#define ROOT_S (20 * 365 * DAY_S)
#define SIGNER_S (10 * 365 * DAY_S)
#define PEM_MAX ((size_t)(64 * KiB))

struct ca {
    char dir[4096];
    char key_files[CA_ROOTS][4200];
    char fleet[FLEET_ID_MAX];
    X509 *roots[CA_ROOTS];
    X509 *signer;
    EVP_PKEY *signer_key;
};

static const char *const root_names[CA_ROOTS] = {"root", "standby"};

static void path_of(const struct ca *ca, const char *file, char out[4200]) {
    snprintf(out, 4200, "%s/%s", ca->dir, file);
}

/* --- reading --- */

/* The first certificate of a file, and its key if there is one. */
static int read_pem(const char *path, X509 **cert, EVP_PKEY **key, struct error *err) {
    char *text;
    size_t len;
    EVP_PKEY *found_key = NULL;
    STACK_OF(X509) *certs = NULL;
    int r = file_read_all(path, PEM_MAX, &text, &len, err);
    if (r < 0) return r;
    r = pem_read(text, len, &found_key, &certs, err);
    OPENSSL_cleanse(text, len);
    free(text);
    if (r < 0) return error_wrap(err, "%s", path);
    if (cert) *cert = sk_X509_shift(certs);
    if (key)
        *key = found_key;
    else
        EVP_PKEY_free(found_key);
    sk_X509_pop_free(certs, X509_free);
    if ((cert && !*cert) || (key && !*key)) return error_set(err, ERR_CORRUPT, "%s lacks its certificate or key", path);
    return 0;
}

/* It is an authority of this fleet; the first one says which fleet that is. */
static int check_fleet(struct ca *ca, const X509 *cert, const char *path, struct error *err) {
    struct member m;
    int r = member_of(&m, cert, err);
    if (r == 0 && m.role != MEMBER_AUTHORITY) r = error_set(err, ERR_INVALID, "it is not an authority's certificate");
    if (r == 0 && ca->fleet[0] && strcmp(ca->fleet, m.fleet) != 0)
        r = error_set(err, ERR_INVALID, "it is of another fleet than root.pem");
    if (r < 0) return error_wrap(err, "%s", path);
    memcpy(ca->fleet, m.fleet, sizeof(ca->fleet));
    return 0;
}

static int read_roots(struct ca *ca, struct error *err) {
    for (unsigned i = 0; i < CA_ROOTS; i++) {
        char name[32], path[4200];
        snprintf(name, sizeof(name), "%s.pem", root_names[i]);
        path_of(ca, name, path);
        int r = read_pem(path, &ca->roots[i], NULL, err);
        if (r == 0) r = check_fleet(ca, ca->roots[i], path, err);
        if (r < 0) return r;
    }
    return 0;
}

static int read_signer(struct ca *ca, const char *path, struct error *err) {
    int r = read_pem(path, &ca->signer, &ca->signer_key, err);
    if (r == 0) r = check_fleet(ca, ca->signer, path, err);
    if (r == 0 && X509_check_private_key(ca->signer, ca->signer_key) != 1)
        r = error_set(err, ERR_CORRUPT, "%s: the key does not belong to the certificate", path);
    return r;
}

/* --- making --- */

static int write_pem(const char *path, EVP_PKEY *key, X509 *cert, struct error *err) {
    struct buf b;
    buf_init(&b, PEM_MAX);
    if (key) pem_add_key(&b, key);
    if (cert) pem_add_cert(&b, cert);
    int r = file_write_atomic(path, key ? 0600 : 0644, b.data, b.len, err);
    OPENSSL_cleanse(b.data, b.len);
    buf_fini(&b);
    return r;
}

static X509 *make_authority(const struct ca *ca, const char *what, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                            int64_t lifetime_s) {
    char uri[MEMBER_URI_MAX], name[64];
    struct member m = {.role = MEMBER_AUTHORITY};
    memcpy(m.fleet, ca->fleet, sizeof(m.fleet));
    snprintf(name, sizeof(name), "Entrepot fleet %s %.8s", what, ca->fleet);
    int64_t now = clock_wall_s();
    const struct cert_order o = {.common_name = name,
                                 .uri = member_uri(&m, uri),
                                 .key = key,
                                 .issuer = issuer,
                                 .issuer_key = issuer_key,
                                 .is_authority = true,
                                 .below = issuer ? 0 : 1,
                                 .not_before = now - CERT_EARLY_S,
                                 .not_after = now + lifetime_s};
    return cert_make(&o);
}

/* The certificate comes last: a root without one is made anew. */
static int make_root(struct ca *ca, unsigned i, struct error *err) {
    char name[32], path[4200];
    EVP_PKEY *key = key_make();
    ca->roots[i] = make_authority(ca, root_names[i], key, NULL, NULL, ROOT_S);
    snprintf(name, sizeof(name), "%s.pem", root_names[i]);
    path_of(ca, name, path);
    int r = write_pem(ca->key_files[i], key, NULL, err);
    if (r == 0) r = write_pem(path, NULL, ca->roots[i], err);
    EVP_PKEY_free(key);
    return r;
}

static int make_signer(struct ca *ca, const char *path, struct error *err) {
    EVP_PKEY *root_key = NULL;
    int r = read_pem(ca->key_files[0], NULL, &root_key, err);
    if (r < 0) {
        error_hint(err, "put signer.pem back, or the root's key where fleet.ca_key_file says");
        return error_wrap(err, "making the fleet's signer");
    }
    ca->signer_key = key_make();
    ca->signer = make_authority(ca, "signer", ca->signer_key, ca->roots[0], root_key, SIGNER_S);
    EVP_PKEY_free(root_key);
    return write_pem(path, ca->signer_key, ca->signer, err);
}

/* Of a central from before fleets had an authority. */
static void remove_old(const struct ca *ca) {
    static const char *const files[] = {"cert.pem", "key.pem"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[4200];
        path_of(ca, files[i], path);
        if (unlink(path) < 0 && errno != ENOENT) log_warn("file_not_removed", KV_S("path", path));
    }
}

static int make_roots(struct ca *ca, struct error *err) {
    fleet_id_make(ca->fleet);
    remove_old(ca);
    int r = make_root(ca, 1, err);
    if (r == 0) r = make_root(ca, 0, err);
    if (r == 0) log_info("fleet_made", KV_S("fleet", ca->fleet), KV_S("folder", ca->dir));
    return r;
}

static bool exists(const char *path) {
    return access(path, F_OK) == 0;
}

int ca_open(struct ca **out, const char *data, const char *key_file, struct error *err) {
    char root[4200], signer[4200];
    struct ca *ca = xcalloc(1, sizeof(*ca));
    snprintf(ca->dir, sizeof(ca->dir), "%.4000s/identity", data);
    snprintf(ca->key_files[0], sizeof(ca->key_files[0]), "%s%s", key_file ? key_file : ca->dir,
             key_file ? "" : "/root.key.pem");
    path_of(ca, "standby.key.pem", ca->key_files[1]);
    path_of(ca, "root.pem", root);
    path_of(ca, "signer.pem", signer);
    int r = dir_make_all(ca->dir, 0700, err);
    if (r == 0) r = exists(root) || exists(signer) ? read_roots(ca, err) : make_roots(ca, err);
    if (r == 0) r = exists(signer) ? read_signer(ca, signer, err) : make_signer(ca, signer, err);
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
    X509_free(ca->signer);
    EVP_PKEY_free(ca->signer_key);
    free(ca);
}

/* --- using --- */

const char *ca_fleet(const struct ca *ca) {
    return ca->fleet;
}

X509 *ca_root(const struct ca *ca, unsigned i) {
    return ca->roots[i];
}

X509 *ca_signer(const struct ca *ca) {
    return ca->signer;
}

bool ca_has_key(const struct ca *ca, unsigned i) {
    return exists(ca->key_files[i]);
}

static X509 *sign(const struct ca *ca, const struct member *m, const char *name, EVP_PKEY *key) {
    char uri[MEMBER_URI_MAX];
    const struct cert_order o = {.common_name = name,
                                 .uri = member_uri(m, uri),
                                 .key = key,
                                 .issuer = ca->signer,
                                 .issuer_key = ca->signer_key,
                                 .not_before = m->not_before,
                                 .not_after = m->not_after};
    return cert_make(&o);
}

X509 *ca_issue(const struct ca *ca, const struct member *m, EVP_PKEY *key) {
    return sign(ca, m, m->name, key);
}

/* Refusals are told in words by the port, so every certificate gets that far. Dates are the gate's to judge. */
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
    X509 *cert = sign(ca, &m, "central", key);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    bool good = SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) && SSL_CTX_use_certificate(ctx, cert) == 1 &&
                SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_add1_chain_cert(ctx, ca->signer) == 1;
    for (unsigned i = 0; i < CA_ROOTS; i++) /* sent as well: an edge that joins knows their hashes only */
        good = good && SSL_CTX_add1_chain_cert(ctx, ca->roots[i]) == 1 && X509_STORE_add_cert(store, ca->roots[i]) == 1;
    good = good && X509_STORE_add_cert(store, ca->signer) == 1;
    if (!good) out_of_memory();
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_verify, NULL);
    /* A resumed session would be that of an earlier certificate. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}
