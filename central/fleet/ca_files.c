/* The folder of the fleet's authority: where each file is, reading them, and making roots and signers. Thread: as
 * ca_private.h says. */
#include "central/fleet/ca_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/file.h"
#include "common/identity/cert.h"

static const char *const root_words[CA_ROOTS] = {"root", "standby", "next", "retired"};

struct ca_path ca_path(const struct ca *ca, const char *file) {
    struct ca_path p;
    snprintf(p.text, sizeof(p.text), "%s/%s", ca->dir, file);
    return p;
}

struct ca_path ca_root_path(const struct ca *ca, enum ca_root which) {
    char name[32];
    snprintf(name, sizeof(name), "%s.pem", root_words[which]);
    return ca_path(ca, name);
}

struct ca_path ca_key_path(const struct ca *ca, enum ca_root which) {
    struct ca_path p = ca_path(ca, "standby.key.pem");
    if (which != CA_STANDBY) snprintf(p.text, sizeof(p.text), "%s%s", ca->key_file, which == CA_NEXT ? ".next" : "");
    return p;
}

bool ca_path_exists(const char *path) {
    return access(path, F_OK) == 0;
}

const char *ca_root_word(enum ca_root which) {
    return root_words[which];
}

bool ca_has_key(const struct ca *ca, enum ca_root which) {
    return ca_path_exists(ca_key_path(ca, which).text);
}

/* --- reading --- */

int ca_read_pem(const char *path, X509 **cert, EVP_PKEY **key, struct error *err) {
    char *text;
    size_t len;
    EVP_PKEY *found_key = NULL;
    STACK_OF(X509) *certs = NULL;
    int r = file_read_all(path, CA_PEM_MAX, &text, &len, err);
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

int ca_check_fleet(struct ca *ca, const X509 *cert, const char *path, struct error *err) {
    struct member m;
    int r = member_of(&m, cert, err);
    if (r == 0 && m.role != MEMBER_AUTHORITY) r = error_set(err, ERR_INVALID, "it is not an authority's certificate");
    if (r == 0 && ca->fleet[0] && strcmp(ca->fleet, m.fleet) != 0)
        r = error_set(err, ERR_INVALID, "it is of another fleet than root.pem");
    if (r < 0) return error_wrap(err, "%s", path);
    memcpy(ca->fleet, m.fleet, sizeof(ca->fleet));
    return 0;
}

static int read_root(struct ca *ca, enum ca_root which, struct error *err) {
    struct ca_path path = ca_root_path(ca, which);
    if ((which == CA_NEXT || which == CA_RETIRED) && !ca_path_exists(path.text)) return 0;
    int r = ca_read_pem(path.text, &ca->roots[which], NULL, err);
    return r < 0 ? r : ca_check_fleet(ca, ca->roots[which], path.text, err);
}

int ca_read_roots(struct ca *ca, struct error *err) {
    int r = 0;
    for (unsigned i = 0; i < CA_ROOTS && r == 0; i++)
        r = read_root(ca, (enum ca_root)i, err);
    return r;
}

int ca_read_cross(struct ca *ca, struct error *err) {
    struct ca_path path = ca_path(ca, "cross.pem");
    if (!ca_path_exists(path.text)) return 0;
    int r = ca_read_pem(path.text, &ca->cross, NULL, err);
    return r < 0 ? r : ca_check_fleet(ca, ca->cross, path.text, err);
}

int ca_read_signer(struct ca *ca, const char *path, struct error *err) {
    int r = ca_read_pem(path, &ca->signers[KEPT_SIGNER], &ca->signer_key, err);
    if (r == 0) r = ca_check_fleet(ca, ca->signers[KEPT_SIGNER], path, err);
    if (r == 0 && X509_check_private_key(ca->signers[KEPT_SIGNER], ca->signer_key) != 1)
        r = error_set(err, ERR_CORRUPT, "%s: the key does not belong to the certificate", path);
    return r;
}

/* --- making --- */

int ca_sync_folder_of(const char *path, struct error *err) {
    char dir[4300];
    snprintf(dir, sizeof(dir), "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash) slash[slash == dir] = '\0';
    _cleanup_(closep) int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? 0 : error_errno(err, "syncing the folder of %s", path);
}

int ca_write_pem(const char *path, EVP_PKEY *key, X509 *cert, struct error *err) {
    struct buf b;
    buf_init(&b, CA_PEM_MAX);
    if (key) pem_add_key(&b, key);
    if (cert) pem_add_cert(&b, cert);
    int r = file_write_atomic(path, key ? 0600 : 0644, b.data, b.len, err);
    if (r == 0) r = ca_sync_folder_of(path, err);
    OPENSSL_cleanse(b.data, b.len);
    buf_fini(&b);
    return r;
}

X509 *ca_make_authority(const struct ca *ca, const char *what, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
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
                                 .below = strcmp(what, "signer") == 0 ? 0 : 1,
                                 .not_before = now - CERT_EARLY_S,
                                 .not_after = now + lifetime_s};
    return cert_make(&o);
}

/* The certificate comes last: a root without one is made anew. */
int ca_make_root(struct ca *ca, enum ca_root which, struct error *err) {
    EVP_PKEY *key = key_make();
    ca->roots[which] = ca_make_authority(ca, root_words[which], key, NULL, NULL, CA_ROOT_S);
    int r = ca_write_pem(ca_key_path(ca, which).text, key, NULL, err);
    if (r == 0) r = ca_write_pem(ca_root_path(ca, which).text, NULL, ca->roots[which], err);
    EVP_PKEY_free(key);
    return r;
}

int ca_make_signer(struct ca *ca, const char *path, struct error *err) {
    EVP_PKEY *root_key = NULL;
    int r = ca_read_pem(ca_key_path(ca, CA_ROOT).text, NULL, &root_key, err);
    if (r < 0) {
        error_hint(err, "put signer.pem back, or the root's key where fleet.ca_key_file says");
        return error_wrap(err, "making the fleet's signer");
    }
    ca->signer_key = key_make();
    ca->signers[KEPT_SIGNER] =
        ca_make_authority(ca, "signer", ca->signer_key, ca->roots[CA_ROOT], root_key, CA_SIGNER_S);
    EVP_PKEY_free(root_key);
    return ca_write_pem(path, ca->signer_key, ca->signers[KEPT_SIGNER], err);
}

int ca_forget(const struct ca *ca, const char *file, struct error *err) {
    struct ca_path p = ca_path(ca, file);
    return unlink(p.text) == 0 || errno == ENOENT ? 0 : error_errno(err, "removing %s", p.text);
}
